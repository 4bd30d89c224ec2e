"""A user's own folder of people's folders."""
