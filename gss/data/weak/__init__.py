"""Weak labels as data."""
