"""Learning from weak labels."""
