"""A user's own folder of photographs."""
