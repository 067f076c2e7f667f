"""The renderer of generated street scenes."""
