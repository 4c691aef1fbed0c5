"""What a checkpoint file holds and what repdiag would take from it, told without reading a weight."""
