"""`repdiag explain`: heat maps of chosen samples and top features, and how much of them lies on the object."""

from repdiag.explaining.api import explain

__all__ = ["explain"]
