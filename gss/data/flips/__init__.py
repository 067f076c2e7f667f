"""Ambiguous labels: classes that turn into second ones."""
