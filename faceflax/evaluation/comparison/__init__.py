"""Restorers beside what people would use instead, on the same faces, damaged by code that no training has seen."""
