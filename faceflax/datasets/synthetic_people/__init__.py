"""Several pictures of each of any number of people who do not exist."""
