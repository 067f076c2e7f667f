"""Several stages as one job."""
