"""Weak labels made from full masks."""
