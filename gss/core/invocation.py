"""The command that is running, for records of how something was made."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import PurePosixPath

_WORDS: ContextVar[tuple[str, ...]] = ContextVar("gss_command_words", default=())
# A path from the root or from a home: a word of its own, or behind `KEY=` or a comma. `s3://...` is none.
_ABSOLUTE = re.compile(r"(^|[=,\[])((?:~[^/,\]]*)?/[^,\]]*)")


@contextmanager
def invoked(words: Sequence[str]) -> Iterator[None]:
    """Remember the words of a `gss` command while it runs."""
    token = _WORDS.set(tuple(words))
    try:
        yield
    finally:
        _WORDS.reset(token)


def command_line() -> str:
    """Return the running command, such as `gss evaluate runs/prior --data camvid`; empty outside of a command.

    Of absolute paths only the last name is kept: they say who ran it and where, which no reader of a record needs.
    """
    return shlex.join(["gss", *map(_shortened, _WORDS.get())]) if _WORDS.get() else ""


def _shortened(word: str) -> str:
    return _ABSOLUTE.sub(lambda found: found[1] + (PurePosixPath(found[2]).name or found[2]), word)
