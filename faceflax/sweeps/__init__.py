"""Many trainings of one experiment: ordinary W&B sweep files, run with or without a server."""
