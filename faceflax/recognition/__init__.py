"""Who is it: vectors of faces in a gallery, and new faces compared with them."""
