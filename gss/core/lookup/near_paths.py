"""What is said about a path that is not there: the nearest one that is, and paths of another system."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from gss.core.errors import nearest

_WINDOWS = re.compile(r"[A-Za-z]:|\\\\")
_MOST = 5000  # entries of a folder that are compared


def near_path(path: str | os.PathLike[str], fits: Callable[[Path], bool] = Path.exists) -> Path | None:
    """Return the existing path that is spelt most like one that does not exist; None when none is close.

    The first part that does not exist is compared with what lies beside it; the parts after it are kept.

    Args:
        path: what the user gave.
        fits: tells whether an existing path may be meant.
    """
    given = Path(path).expanduser()
    parent = next((parent for parent in given.parents if parent.is_dir()), None)
    if parent is None:
        return None
    first, *rest = given.relative_to(parent).parts
    try:
        names = sorted(os.listdir(parent))[:_MOST]
    except OSError:
        return None
    known = {name: parent.joinpath(name, *rest) for name in names if not name.startswith(".")}
    name = nearest(first, [name for name, place in known.items() if fits(place)])
    return known[name] if name is not None else None


def is_foreign(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is written as on Windows, on another system."""
    return os.name != "nt" and _WINDOWS.match(os.fspath(path)) is not None


def path_hint(path: str | os.PathLike[str], fits: Callable[[Path], bool] = Path.exists) -> str:
    """Return what may be meant by a path that does not exist, to be put behind a message; empty without an idea.

    Args:
        path: what the user gave.
        fits: as in `near_path`.
    """
    if is_foreign(path):
        return (
            "; it looks like a path of Windows, and this system is another: write it as it is called here, with / "
            "(in WSL, C:\\photos is /mnt/c/photos)"
        )
    near = near_path(path, fits)
    return f", did you mean {near}?" if near is not None else ""
