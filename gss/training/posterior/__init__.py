"""Stage 1: the posterior."""
