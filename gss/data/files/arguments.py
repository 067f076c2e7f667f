"""Images that arguments of a command name, and names for their results."""

from __future__ import annotations

import glob
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gss.core.errors import InputError
from gss.core.lookup.near_paths import path_hint
from gss.data.files.walk import walk
from gss.data.images import IMAGE_SUFFIXES

# Formats of pictures that are not read; those of cameras and telephones are easily overlooked in a folder of others.
_UNREAD = frozenset(
    (".heic", ".heif", ".avif", ".gif", ".jxl", ".jp2", ".jfif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2")
)
_RUNS = re.compile(r"\d+|\D+")


class Found(NamedTuple):
    """A file that an argument of a command led to.

    Attributes:
        path: the file.
        name: distinct path of its results, without endings: that below the folder or glob which led to it.
    """

    path: Path
    name: str


def find_images(
    arguments: Sequence[str], *, exclude: Path | None = None, suffixes: Sequence[str] = IMAGE_SUFFIXES
) -> list[Path]:
    """Return image files named by paths, folders (searched through) and globs, each once, in the order given.

    Numbers in names count as numbers: `frame_2` comes before `frame_10`. Hidden files and folders are found only if an
    argument names them.

    Args:
        arguments: paths, folders and globs as typed by the user.
        exclude: folder whose contents are skipped in searches: the output of an earlier run.
        suffixes: endings of the files that are searched for.

    Raises:
        InputError: an argument that leads to no image.
    """
    return [path for path, _ in _search(arguments, exclude, suffixes)]


def find_inputs(
    arguments: Sequence[str], *, exclude: Path | None = None, suffixes: Sequence[str] = IMAGE_SUFFIXES
) -> list[Found]:
    """Return the files of `find_images` with names for their results, which keep the sub-folders.

    Files of one name, found through different arguments, get as many parent folders as tell them apart; files that
    differ in suffix alone keep it (`a_png`, `a_jpg`). Names also differ where case is ignored.

    Raises:
        InputError: an argument that leads to no image.
    """
    found = _search(arguments, exclude, suffixes)
    inner = [Path(os.path.relpath(path, base)) for path, base in found]
    parts = [tuple(part for part in Path(os.path.abspath(path)).parts if part != path.anchor) for path, _ in found]
    lengths = [len(path.parts) for path in inner]

    def names() -> list[str]:
        pairs = zip(parts, lengths, strict=True)
        return ["/".join((*part[-length:-1], Path(part[-1]).stem)) for part, length in pairs]

    for _ in range(max(map(len, parts), default=0)):
        folders: dict[str, set[tuple[str, ...]]] = {}
        for name, part in zip(names(), parts, strict=True):
            folders.setdefault(name.lower(), set()).add(part[:-1])
        for index, name in enumerate(names()):
            if len(folders[name.lower()]) > 1:
                lengths[index] = min(lengths[index] + 1, len(parts[index]))
        if max(map(len, folders.values()), default=1) == 1:
            break
    paths = [path for path, _ in found]
    return [Found(path, name) for path, name in zip(paths, distinct_names(names(), paths), strict=True)]


def _search(arguments: Sequence[str], exclude: Path | None, suffixes: Sequence[str]) -> list[tuple[Path, Path]]:
    """Return each file with the folder that its results' names begin below."""
    skip = os.path.join(os.path.abspath(exclude), "") if exclude is not None else None
    images: dict[str, tuple[Path, Path]] = {}
    for argument in arguments:
        path = Path(argument)
        if path.is_file():
            images.setdefault(os.path.abspath(path), (path, path.parent))
            continue
        candidates: Iterable[Path]
        if path.is_dir():
            candidates, base, place = _files_below(path), path, f"folder {argument} holds"
        elif glob.has_magic(argument):
            # glob leaves out names that begin with a dot, unless the pattern does, too.
            candidates, place = map(Path, glob.glob(argument, recursive=True)), f"glob {argument!r} matches"
            base = next(parent for parent in path.parents if not glob.has_magic(str(parent)))
        else:
            hint = path_hint(argument, lambda found: found.is_dir() or found.suffix.lower() in suffixes)
            raise InputError(f"{argument}: no such image or folder{hint or '; check the path (quote globs)'}")
        candidates = sorted(candidates, key=natural_key)
        unread = [candidate.suffix.lower() for candidate in candidates if candidate.suffix.lower() in _UNREAD]
        if unread:
            endings = ", ".join(sorted({*unread}))
            warnings.warn(
                f"{argument}: {len(unread)} pictures are left out, whose format is not read ({endings}): convert them "
                "to PNG or JPEG",
                stacklevel=2,
            )
        readable = {
            os.path.abspath(candidate): candidate
            for candidate in candidates
            if candidate.suffix.lower() in suffixes and candidate.is_file()
        }
        kept = {full: image for full, image in readable.items() if skip is None or not full.startswith(skip)}
        if readable and not kept:
            raise InputError(f"{argument} lies in the output folder {exclude}: choose another --out")
        if not kept:
            raise InputError(f"{place} no image; readable are {', '.join(suffixes)}")
        for full, image in kept.items():
            images.setdefault(full, (image, base))
    return list(images.values())


def natural_key(path: Path) -> tuple[list[list[tuple[int, str]]], str]:
    """Return the key of an order in which numbers in names count as numbers."""
    parts = [[(int(run), "") if run.isdecimal() else (-1, run) for run in _RUNS.findall(part)] for part in path.parts]
    return parts, str(path)


def _files_below(path: Path) -> Iterator[Path]:
    return (Path(folder.path, name) for folder in walk(path) for name in folder.files)


def output_names(paths: Sequence[Path]) -> list[str]:
    """Return a distinct name for each file: its stem, after as many parent folders as needed to tell files apart.

    Names also differ where case is ignored. Files that differ in suffix alone keep it (`a_png`, `a_jpg`). Links keep
    their own names.
    """
    full = [Path(os.path.abspath(path)) for path in paths]
    names = [path.stem for path in full]
    for depth in range(1, max((len(path.parts) for path in full), default=1)):
        counts = Counter(name.lower() for name in names)
        if max(counts.values(), default=1) == 1:
            return names
        for index, path in enumerate(full):
            if counts[names[index].lower()] > 1:
                parents = [part for part in path.parts[:-1] if part != path.anchor][-depth:]
                names[index] = "_".join([*parents, path.stem])
    return distinct_names(names, full)


def distinct_names(names: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """Return names that differ where case is ignored: with the suffix of the file, or a number."""
    counts = Counter(name.lower() for name in names)
    names = [
        f"{name}_{path.suffix[1:]}" if counts[name.lower()] > 1 else name
        for name, path in zip(names, paths, strict=True)
    ]
    taken: set[str] = set()
    for index, name in enumerate(names):
        distinct, number = name, 2
        while distinct.lower() in taken:
            distinct, number = f"{name}_{number}", number + 1
        taken.add(distinct.lower())
        names[index] = distinct
    return names
