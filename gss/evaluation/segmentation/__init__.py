"""Segmentation metrics of a pipeline on a data set."""
