"""One module per family of checkpoint files. None imports torch before it reads weights."""
