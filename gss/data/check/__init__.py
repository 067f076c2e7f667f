"""Checks of data sets: every file is read or accounted for."""
