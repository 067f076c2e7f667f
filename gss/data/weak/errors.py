"""Errors in weak labels."""

from gss.core.errors import InputError


class LabelSettingError(InputError):
    """A mistake in weak labels that a key under `weak` in the data spec can mend; the text names the key."""
