"""Stage 1: labels, colours and tokens."""
