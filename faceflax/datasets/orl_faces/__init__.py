"""The ORL database of faces: 40 people, ten photographs each."""
