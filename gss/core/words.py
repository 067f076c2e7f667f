"""Words around numbers in texts for people."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: "1 image", "12 images".

    Args:
        number: how many.
        noun: the noun in the singular.
        plural: its plural, where an s is not enough.
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
