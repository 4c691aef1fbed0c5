"""`repdiag compare`: reports or models against one another on the same images."""

from repdiag.comparing.api import compare

__all__ = ["compare"]
