"""Where in an image features come from: gradient heat maps, masks, and how much of one lies in the other."""
