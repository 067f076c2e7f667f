"""Data sets: specs, reading, joint transforms and loaders."""
