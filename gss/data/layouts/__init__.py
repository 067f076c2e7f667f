"""Folders as people have them: which files are images, which are masks, and what the masks mean."""
