"""The faces of raw photographs, normalised by an Apache Beam pipeline."""
