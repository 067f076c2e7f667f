"""The one walker of folders, for training, checking and predicting."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from gss.core.errors import InputError

_SYSTEM_NAMES = frozenset(
    ("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found")
    + ("Thumbs.db", "desktop.ini", "Icon\r")
)

HIDDEN = "hidden, or written by the system"
BROKEN = "link to nothing, or not a regular file"
LOOP = "link to a folder that contains it"


class Folder(NamedTuple):
    """One folder of a walk.

    Attributes:
        path: path of the folder, with the spelling of the start.
        inner: path relative to the start, with `/`; empty for the start itself.
        files: names of its files in ascending order.
        skipped: names of entries that are left out, with the reason.
    """

    path: str
    inner: str
    files: list[str]
    skipped: list[tuple[str, str]]


def is_hidden(name: str) -> bool:
    """Return True for names of hidden files and folders (`.…`) and of those that systems leave in folders."""
    return name[0] == "." or name in _SYSTEM_NAMES


def walk(start: str | os.PathLike[str]) -> Iterator[Folder]:
    """Visit a folder and its sub-folders in ascending order of their names.

    Links to files and folders are followed and keep their own names; a link to a folder that contains it is left out.
    Hidden names are left out below the start. A start that is not a folder gives nothing.

    Raises:
        InputError: a folder cannot be read.
    """
    path = os.fspath(start)
    if os.path.isdir(path):
        yield from _walk(path, "", (os.path.realpath(path),))


def _walk(path: str, inner: str, real: tuple[str, ...]) -> Iterator[Folder]:
    """Visit one folder; `real` holds the real paths of it and of the folders on the way to it, the last is its own."""
    files: list[str] = []
    folders: list[tuple[str, bool]] = []
    skipped: list[tuple[str, str]] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if is_hidden(entry.name):
                    skipped.append((entry.name, HIDDEN))
                elif entry.is_file():
                    files.append(entry.name)
                elif entry.is_dir():
                    folders.append((entry.name, entry.is_symlink()))
                else:
                    skipped.append((entry.name, BROKEN))
    except OSError as error:
        raise InputError(f"cannot read folder {path}: {error.strerror or error}") from error
    files.sort()
    folders.sort()
    below = []
    for name, linked in folders:
        target = os.path.realpath(os.path.join(path, name)) if linked else os.path.join(real[-1], name)
        if linked and (target in real or real[0].startswith(os.path.join(target, ""))):
            skipped.append((name, LOOP))
        else:
            below.append((name, target))
    yield Folder(path, inner, files, sorted(skipped))
    for name, target in below:
        yield from _walk(os.path.join(path, name), f"{inner}/{name}" if inner else name, (*real, target))
