"""What a process of the `gss` command sets for the time that it runs, and puts back."""

from __future__ import annotations

import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

import gss
from gss.core.errors import InputError, shorten_words

if TYPE_CHECKING:
    import torch

    from gss.evaluation.images import Unreadable


def parse_device(name: str | None) -> torch.device | None:
    """Return the device that a user names; None for the usual one.

    Raises:
        InputError: unknown, or not there.
    """
    import torch

    if name is None:
        return None
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # by the build of torch
        count = torch.cuda.device_count()
        there = ", ".join(["cpu", *(f"cuda:{index}" for index in range(count))])
        raise InputError(f"--device {name}: cannot be used here; there are {there}") from error
    return device


def parse_dtype(name: str) -> torch.dtype:
    """Return the torch type of a name such as float16."""
    import torch

    return getattr(torch, name)


def forgive_characters() -> None:
    """Let output that a terminal or file cannot encode appear as `?`, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def announce(text: str) -> None:
    """Write a line to stderr while there is something heavy to load, which takes seconds; on the first process only."""
    if "torch" not in sys.modules and os.environ.get("RANK", "0") == "0":
        print(text, file=sys.stderr, flush=True)


@contextmanager
def quiet(on: bool) -> Iterator[None]:
    """Print nothing but errors and warnings for the time of the block: no results, no progress bars."""
    if not on:
        yield
        return
    begin = vars(tqdm)["__init__"]  # as it is kept, to put back the same

    def hidden(self: tqdm, *args: Any, **options: Any) -> None:
        begin.__get__(self, tqdm)(*args, **{**options, "disable": True})

    tqdm.__init__ = hidden  # type: ignore[method-assign]
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            yield
    finally:
        tqdm.__init__ = begin  # type: ignore[method-assign]


def one_line(text: str) -> str:
    """Return a message without line breaks and control characters, and without words longer than any path."""
    line = "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))
    return shorten_words(line.replace(" ;", ";"))


_COLORS = {"error:": "31", "warning:": "33"}


def highlight(line: str) -> str:
    """Return a line for stderr with its first `error:` or `warning:` in colour, if people read it in a terminal.

    `NO_COLOR` with any value, or a terminal named `dumb`, switches colours off.
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stderr.isatty()
    found = None if plain else re.search("|".join(_COLORS), line)
    if found is None:
        return line
    return f"{line[: found.start()]}\x1b[1;{_COLORS[found[0]]}m{found[0]}\x1b[0m{line[found.end() :]}"


def report_unreadable(images: Iterable[Unreadable]) -> int:
    """Print one line per image that was left out, on the main process; return the exit code, 1 if there are any."""
    from gss.core.distributed import is_main

    lines = dict.fromkeys(one_line(f"gss: error: {image.id}: {image.reason}") for image in images)
    for line in lines if is_main() else ():
        print(highlight(line), file=sys.stderr)
    return 1 if lines else 0


def show_warning() -> Callable[..., None]:
    """Return a `warnings.showwarning` that prints each gss warning once, on one line, without breaking progress bars.

    Other warnings are shown as usual.
    """
    others, seen = warnings.showwarning, set()

    def show(message: Warning | str, category: type[Warning], filename: str, *rest: Any) -> None:
        if category is not UserWarning or not Path(filename).is_relative_to(Path(gss.__file__).parent):
            others(message, category, filename, *rest)
        elif str(message) not in seen:
            seen.add(str(message))
            tqdm.write(highlight(f"gss: warning: {one_line(str(message))}"), file=sys.stderr)

    return show
