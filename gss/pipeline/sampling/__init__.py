"""Masks drawn from a joint prior: several hypotheses, the rest of a partial mask, masks without an image."""
