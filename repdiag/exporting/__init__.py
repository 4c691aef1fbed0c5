"""The clean backbone of a checkpoint in the formats that others read."""
