"""Reports kept as baselines in a plain folder."""
