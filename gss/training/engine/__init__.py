"""The training loop that all stages share."""
