"""Help for error messages: the nearest valid name for a misspelt one."""

import difflib
from collections.abc import Iterable


def nearest(value: str, options: Iterable[str]) -> str | None:
    """Return the option closest to a misspelt value, whatever its case, or None when none is close."""
    by_lower = {option.lower(): option for option in options}
    close = difflib.get_close_matches(value.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def did_you_mean(value: str, options: Iterable[str]) -> str:
    """Suggest the option closest to a misspelt value.

    Args:
        value: What the user wrote.
        options: The valid names.

    Returns:
        `"did you mean 'x'?"`, or an empty string when nothing is close.
    """
    option = nearest(value, options)
    return f"did you mean '{option}'?" if option else ""
