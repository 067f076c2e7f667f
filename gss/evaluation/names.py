"""Short names of pipelines from their folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gss.core.errors import InputError


def unknown_metric(name: str, *, where: str = "") -> InputError:
    """Build the error for a name of no metric; `where` is the option that it was given to."""
    head = f"{where}: " if where else ""
    return InputError(
        f"{head}there is no metric {name!r}: name your own as module:Name (docs/extending/metric.md); the usual ones "
        "are always measured"
    )


def short_names(folders: Sequence[str]) -> dict[str, str]:
    """Name pipelines for tables, by the last part of the path that is not `pipeline`.

    Args:
        folders: folders of pipelines.

    Returns:
        Folder by name. Folders with the same last part are named by their whole path.

    Raises:
        InputError: a folder is given twice.
    """
    paths = [str(Path(folder)) for folder in folders]
    for path in paths:
        if paths.count(path) > 1:
            raise InputError(f"pipeline {path} is given twice; name each once")
    short = [next((part for part in reversed(Path(path).parts) if part != "pipeline"), path) for path in paths]
    return {path if short.count(name) > 1 else name: path for name, path in zip(short, paths, strict=True)}
