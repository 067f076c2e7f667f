"""Masks that are drawn: hypotheses, completion, corrections and masks without image, measured on a data set."""
