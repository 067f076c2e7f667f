"""From names and paths that people type to the objects and folders that they mean."""
