"""What a process of the `gss` command sets for the time that it runs, and puts back."""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

import gss


def flush_denormals(flush: bool) -> None:
    """Let CPUs take numbers below 1e-38 for 0, if torch is loaded; best before its threads start, which inherit it.

    Probabilities of unlikely codes and their gradients are that small, and would halve the speed of training.
    """
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(flush)


def one_line(text: str) -> str:
    """A message without line breaks, and without the gap where there was nothing to suggest."""
    return " ".join(text.split()).replace(" ;", ";")


def show_warning() -> Callable[..., None]:
    """What prints a warning of the package in one line, once, clear of progress bars; others as usual."""
    others, seen = warnings.showwarning, set()

    def show(message: Warning | str, category: type[Warning], filename: str, *rest: Any) -> None:
        if category is not UserWarning or not Path(filename).is_relative_to(Path(gss.__file__).parent):
            others(message, category, filename, *rest)
        elif str(message) not in seen:
            seen.add(str(message))
            tqdm.write(f"gss: warning: {one_line(str(message))}", file=sys.stderr)

    return show
