"""Names that the command takes and files that it reads; imports nothing heavy, so that mistakes show at once."""

from gss.data.images import IMAGE_SUFFIXES

OUTPUTS = ("mask", "maskige", "overlay", "confidence", "scores", "heat", "alarms")
"""Kinds of files; the last three are about out-of-distribution scores."""

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi")
INPUT_SUFFIXES = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
"""Endings of the images and videos that are searched for."""
