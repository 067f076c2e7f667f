"""Settings and data in, weights out: one folder a stage."""
