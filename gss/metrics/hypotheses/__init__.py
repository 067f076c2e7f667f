"""Metrics of several masks of one image: distance to the truths, modes, best and mean of N, uncertainty."""
