"""The error that a user can mend, and the nearest valid name for a misspelt one.

    Exception
    ├── ValueError
    │   └── InputError    a mistake in files, settings or arguments
    ├── OSError           the machine: a file that is not there, a full disk, missing rights
    └── anything else     a bug

The command line prints the first two in one line; everything else shows its traceback.
"""

import difflib
import re
import reprlib
from collections.abc import Collection, Iterable


class InputError(ValueError):
    """A mistake in files, settings or arguments; its text names what is wrong, what is allowed and how to mend it."""


_LONGEST_TEXT, _LONGEST_VALUE, _LONGEST_WORD = 200, 200, 1000  # characters in a message
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxlist, _SHORT.maxdict, _SHORT.maxother = 2, 60, 4, 4, 60


def quoted(value: object) -> str:
    """Return a value of a file or an argument as Python writes it, for a message; a long one is shortened."""
    try:
        text = repr(value)
        return text if len(text) <= _LONGEST_VALUE else _SHORT.repr(value)
    except (ValueError, RecursionError):  # a number of more digits than Python writes, or deep nesting
        return f"a {type(value).__name__} that is too long to be shown"


def shorten(text: str) -> str:
    """Return a text of a file on one line of limited length, for a message."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_TEXT else line[:_LONGEST_TEXT] + "..."


def shorten_words(text: str) -> str:
    """Return a message in which no word is longer than any path; the middle of longer ones is left out."""
    return re.sub(rf"\S{{{_LONGEST_WORD},}}", lambda word: f"{word[0][:60]}...{word[0][-20:]}", text)


def nearest(value: str, options: Iterable[str]) -> str | None:
    """Return the option closest to a misspelt value, whatever its case, or None when none is close."""
    by_lower = {option.lower(): option for option in options}
    close = difflib.get_close_matches(value.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def did_you_mean(value: str, options: Iterable[str]) -> str:
    """Suggest the option closest to a misspelt value.

    Args:
        value: what the user wrote.
        options: the valid names.

    Returns:
        `"did you mean 'x'?"`, or an empty string when nothing is close.
    """
    option = nearest(value, options)
    return f"did you mean '{option}'?" if option else ""


def unknown_name(kind: str, name: object, known: Collection[str], *, where: str = "", plural: str = "") -> InputError:
    """Build the error for a name that does not exist, with the nearest one and all of them.

    Args:
        kind: what the name stands for, such as "stage".
        name: what the user wrote.
        known: the valid names.
        where: what the name was found in, such as "--stages"; it opens the message.
        plural: of `kind`, where an s is not enough.

    Returns:
        An error such as "--stages: unknown stage 'prier', did you mean 'prior'? Stages: posterior, prior, twin".
    """
    option = nearest(str(name), known)
    hint = f", did you mean '{option}'?" if option else "."
    head = f"{where}: " if where else ""
    listed = ", ".join(list(known)[:40]) + (f" and {len(known) - 40} more" if len(known) > 40 else "") or "none"
    return InputError(f"{head}unknown {kind} {quoted(str(name))}{hint} {(plural or kind + 's').capitalize()}: {listed}")
