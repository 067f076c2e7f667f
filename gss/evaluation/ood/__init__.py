"""How well scores find the unknown."""
