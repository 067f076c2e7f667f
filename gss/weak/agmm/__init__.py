"""Adaptive Gaussian mixtures: pseudo-labels from clicks, scribbles and blocks."""
