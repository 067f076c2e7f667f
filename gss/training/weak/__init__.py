"""Classifiers from weak labels."""
