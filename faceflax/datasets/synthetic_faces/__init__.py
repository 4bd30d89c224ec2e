"""Any number of faces of nobody who exists, made on the user's machine."""
