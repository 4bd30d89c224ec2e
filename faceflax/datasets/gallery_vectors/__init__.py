"""The vectors of a gallery, with the people they are of."""
