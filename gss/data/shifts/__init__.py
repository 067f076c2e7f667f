"""Changes of the image that leave its labels as they are."""
