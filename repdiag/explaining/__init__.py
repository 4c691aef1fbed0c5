"""`repdiag explain`: heat maps of chosen samples and top features, and how much of them lies on the object."""
