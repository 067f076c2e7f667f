"""A pipeline as a folder: what is in it, its model card, the hub, and the folders that come with gss."""
