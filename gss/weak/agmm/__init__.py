"""Adaptive Gaussian mixtures: pseudo-labels from partial masks."""
