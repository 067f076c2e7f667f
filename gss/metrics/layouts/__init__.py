"""Metrics of masks without images: generated ones against real ones, as sets."""
