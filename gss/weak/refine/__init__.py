"""Labels refined along the edges of the image."""
