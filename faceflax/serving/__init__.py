"""A web page on which photographs are damaged and restored: pure functions, and the page that wires them."""
