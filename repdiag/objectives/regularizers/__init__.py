"""Regularizers: a module each. A new one is a file here and its Parameters."""
