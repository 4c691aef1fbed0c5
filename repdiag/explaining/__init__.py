"""`repdiag explain`: heat maps of chosen samples and top features, and how much of them lies on the object."""

from repdiag.explaining.api import explain
from repdiag.explaining.types import Explanation

__all__ = ["Explanation", "explain"]
