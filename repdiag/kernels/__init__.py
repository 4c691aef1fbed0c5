"""Arrays in, arrays out: the numerical parts, free of any word of the domain.

Torch and faiss are imported inside the functions that use them, so that listing metrics stays cheap.
"""
