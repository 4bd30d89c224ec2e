"""500 synthetic faces at 128x128, shipped inside the package."""
