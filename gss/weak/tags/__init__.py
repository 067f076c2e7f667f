"""Masks from image tags."""
