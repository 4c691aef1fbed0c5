"""The Python interface: what `repdiag` offers under its own name, for models and data of any kind."""
