"""Images that arguments of a command name, and names for their results."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from gss.core.errors import InputError
from gss.data.files.walk import walk
from gss.data.images import IMAGE_SUFFIXES


def find_images(arguments: Sequence[str], *, exclude: Path | None = None) -> list[Path]:
    """Return image files named by paths, folders (searched through) and globs, each once, in the order given.

    Hidden files and folders are found only if an argument names them.

    Args:
        arguments: paths, folders and globs as typed by the user.
        exclude: folder whose contents are skipped in searches: the output of an earlier run.

    Raises:
        InputError: an argument that leads to no image.
    """
    skip = os.path.join(os.path.abspath(exclude), "") if exclude is not None else None
    images: dict[str, Path] = {}
    for argument in arguments:
        path = Path(argument)
        if path.is_file():
            images.setdefault(os.path.abspath(path), path)
            continue
        candidates: Iterator[Path]
        if path.is_dir():
            candidates, place = _files_below(path), f"folder {argument} holds"
        elif glob.has_magic(argument):
            # glob leaves out names that begin with a dot, unless the pattern does, too.
            candidates, place = map(Path, sorted(glob.glob(argument, recursive=True))), f"glob {argument!r} matches"
        else:
            raise InputError(f"{argument}: no such image or folder; check the path (quote globs)")
        readable = {
            os.path.abspath(candidate): candidate
            for candidate in candidates
            if candidate.suffix.lower() in IMAGE_SUFFIXES and candidate.is_file()
        }
        kept = {full: image for full, image in readable.items() if skip is None or not full.startswith(skip)}
        if readable and not kept:
            raise InputError(f"{argument} lies in the output folder {exclude}: choose another --out")
        if not kept:
            raise InputError(f"{place} no image; readable are {', '.join(IMAGE_SUFFIXES)}")
        for full, image in kept.items():
            images.setdefault(full, image)
    return list(images.values())


def _files_below(path: Path) -> Iterator[Path]:
    return iter(sorted(Path(folder.path, name) for folder in walk(path) for name in folder.files))


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
    counts = Counter(name.lower() for name in names)
    names = [
        f"{name}_{path.suffix[1:]}" if counts[name.lower()] > 1 else name
        for name, path in zip(names, full, strict=True)
    ]
    taken: set[str] = set()
    for index, name in enumerate(names):
        distinct, number = name, 2
        while distinct.lower() in taken:
            distinct, number = f"{name}_{number}", number + 1
        taken.add(distinct.lower())
        names[index] = distinct
    return names
