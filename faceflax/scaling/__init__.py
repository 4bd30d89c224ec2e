"""How training scales: over devices, measured and predicted, and with the network's size and the data."""
