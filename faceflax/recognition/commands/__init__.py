"""What the commands on faces and people do."""
