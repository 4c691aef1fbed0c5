"""`repdiag compare`: reports or models against one another on the same images."""
