"""Stages from weak labels: pixel classifier and tag classifier."""
