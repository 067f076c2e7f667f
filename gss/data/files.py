"""Find the files of a split: id lists, patterns with `{id}` and any-suffix look-ups."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from gss.data.images import IMAGE_SUFFIXES, MASK_SUFFIXES

__all__ = ["Sample", "find_files", "find_ids", "pair_up", "read_list"]


@dataclass(frozen=True)
class Sample:
    """One image and its mask.

    Args:
        id: id from the list or the file name.
        image, mask: paths; where the file is not there, the path it should have.
        missing: which of "image" and "mask" are not there.
    """

    id: str
    image: Path
    mask: Path
    missing: tuple[str, ...] = ()


def read_list(path: Path) -> list[str]:
    """Ids in a list file, one a line, with or without an image suffix; blanks and repeats are skipped.

    Raises:
        ValueError: the file cannot be read as text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read split list {path}: {error}") from error
    return list(dict.fromkeys(_without_suffix(line.strip()) for line in lines if line.strip()))


def find_ids(root: Path, pattern: str) -> list[str]:
    """Sorted ids of the files below `root` that match `pattern`; ids may contain `/`."""
    return sorted(find_files(root, pattern, IMAGE_SUFFIXES))


def pair_up(root: Path, image: str, mask: str, ids: list[str]) -> list[Sample]:
    """Look up image and mask of every id; folders are listed once instead of asking for each file."""
    images, masks = find_files(root, image, IMAGE_SUFFIXES), find_files(root, mask, MASK_SUFFIXES)
    samples = []
    for id in ids:
        found = images.get(id), masks.get(id)
        missing = tuple(kind for kind, path in zip(("image", "mask"), found, strict=True) if path is None)
        expected = (root / image.replace("{id}", id), root / mask.replace("{id}", id))
        samples.append(Sample(id, found[0] or expected[0], found[1] or expected[1], missing))
    return samples


def find_files(root: Path, pattern: str, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Id to file for everything below `root` that matches `pattern`.

    Args:
        root: folder of the data set.
        pattern: relative path with `{id}`; a final `.*` stands for any of `suffixes`.
        suffixes: file name endings, lower case.
    """
    before, *rest = re.split(r"(\{id\})", pattern)
    base = before.rpartition("/")[0]
    any_suffix = pattern.endswith(".*")
    expression = re.escape(before) + "(?P<id>.+)"
    for part in rest[1:]:
        # A second {id} repeats the first: `{id}/{id}.png`.
        expression += "(?P=id)" if part == "{id}" else re.escape(part.removesuffix(".*") if any_suffix else part)
    matcher = re.compile(expression + (r"\.[^./]+" if any_suffix else ""))
    found: dict[str, Path] = {}
    # sorted: of two files with one id (a.jpg, a.png) the same one is taken on every machine
    for folder, folders, files in os.walk(root / base, followlinks=True):
        folders.sort()
        inner = Path(folder).relative_to(root).as_posix()
        for name in sorted(files):
            if name.startswith(".") or (any_suffix and not name.lower().endswith(suffixes)):
                continue
            match = matcher.fullmatch(name if inner == "." else f"{inner}/{name}")
            if match:
                found.setdefault(match["id"], Path(folder, name))
    return found


def _without_suffix(line: str) -> str:
    suffix = Path(line).suffix
    return line[: -len(suffix)] if suffix.lower() in IMAGE_SUFFIXES else line
