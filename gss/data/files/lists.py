"""Split lists: text files that name the images of a split."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from gss.core.errors import InputError
from gss.core.files import read_text
from gss.data.files.patterns import composed, without_suffix
from gss.data.images import IMAGE_SUFFIXES, MASK_SUFFIXES

LIST_NAMES = frozenset(
    ("train", "val", "test", "all", "trainval", "training", "valid", "validation", "testing", "minitrain", "minival")
)
"""Names of text files that are split lists whatever they hold."""

_HEADERS = frozenset(("id", "ids", "image", "images", "file", "files", "filename", "file_name", "name", "path", "img"))


class ListEntry(NamedTuple):
    """Image that a line of a list names.

    Args:
        id: id of the image; the text of the line if it names none.
        where: file and line.
        known: False if the line names no image of the split.
        mask: text of the second column if it names a file, else empty.
    """

    id: str
    where: str
    known: bool = True
    mask: str = ""


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines of a list that are not blank, with their numbers from 1.

    Raises:
        InputError: the file cannot be read as text.
    """
    lines = re.split(r"\r\n|\n|\r", read_text(path))
    return [(number, text) for number, line in enumerate(lines, start=1) if (text := line.strip())]


def read_list(path: Path) -> list[str]:
    """Return the lines of a list as ids, without the ending of an image; blanks and repeats are skipped.

    Raises:
        InputError: the file cannot be read as text.
    """
    return list(dict.fromkeys(without_suffix(line) for _, line in read_lines(path)))


def resolve_list(path: Path, images: Mapping[str, Path], root: Path) -> list[ListEntry]:
    """Return the images that a list names, in its order and each once.

    A line is an id; the path of an image, absolute or relative to the root or a folder below it, also with backslashes;
    or a folder of images. It may be quoted, have the ending of an image, and be the first of several columns separated
    by tabs, commas, semicolons or blanks. A first line such as `image,mask` is a header, and a line that begins with
    `#` and names no image is a comment.

    Args:
        path: text file.
        images: files of the split by id.
        root: folder of the data set.

    Raises:
        InputError: the file cannot be read as text.
    """
    names = ImageNames(images, root)
    entries: dict[str, ListEntry] = {}
    for number, line in read_lines(path):
        where = f"{path}, line {number}"
        ids, mask = names.resolve(line)
        if ids is None:
            if line.startswith("#") or (number == 1 and _columns(line)[0].lower() in _HEADERS):
                continue
            entries.setdefault(line, ListEntry(without_suffix(line), where, known=False))
        for id in ids or ():
            entries.setdefault(id, ListEntry(id, where, mask=mask))
    return list(entries.values())


def count_images(path: Path, images: ImageNames) -> tuple[int, int]:
    """Return the number of lines of a text file that name images, and the number of its lines.

    Raises:
        InputError: the file cannot be read as text.
    """
    lines = read_lines(path)
    return sum(images.resolve(line)[0] is not None for _, line in lines), len(lines)


def names_images(path: Path, images: ImageNames) -> bool:
    """Return True if at least half the lines of a text file name images, or all have the ending of an image."""
    try:
        count, total = count_images(path, images)
        endings = {Path(_columns(line)[0]).suffix.lower() for _, line in read_lines(path)}
    except InputError:
        return False  # not text
    return total > 0 and (2 * count >= total or endings <= set(IMAGE_SUFFIXES))


class ImageNames:
    """Look-up of images by the texts that lists use for them.

    Args:
        images: files by id.
        root: folder of the data set.
    """

    def __init__(self, images: Mapping[str, Path], root: Path) -> None:
        self._images, self._root = images, root
        self._roots = [f"{posixpath.normpath(place)}/" for place in (os.path.abspath(root), os.path.realpath(root))]
        self._paths: dict[str, str | None] | None = None
        self._folders: dict[str, list[str]] = {}

    def below(self, folder: str) -> ImageNames:
        """Return the look-up of the images whose ids begin with a folder, by the rest of the id."""
        start = f"{composed(folder)}/"
        images = {id[len(start) :]: path for id, path in self._images.items() if id.startswith(start)}
        return ImageNames(images, self._root)

    def resolve(self, line: str) -> tuple[list[str] | None, str]:
        """Return the ids that a line names, None if it names none, and the second column if it names a file."""
        if line in self._images:
            return [line], ""
        for text, rest in _readings(line):
            ids = self._look_up(text)
            if ids is not None:
                mask = _columns(rest)[0] if rest else ""
                return ids, mask if Path(mask).suffix.lower() in (*MASK_SUFFIXES, *IMAGE_SUFFIXES) else ""
        return None, ""

    def _look_up(self, text: str) -> list[str] | None:
        if composed(text) in self._images:
            return [composed(text)]
        path = posixpath.normpath(text.replace("\\", "/"))
        name = without_suffix(path)
        if name in self._images:
            return [name]
        if self._paths is None:
            self._paths = self._index()
        if path.startswith("/") or re.match(r"[A-Za-z]:/", path):
            base = next((base for base in self._roots if path.startswith(base)), None)
            if base is None and os.path.exists(path):
                return None  # an image of another place
            name = name[len(base) :] if base else self._below_root(name)
        elif name not in self._paths and name not in self._folders:
            name = self._below_root(name)
        id = self._paths.get(name)
        return [id] if id is not None else self._folders.get(name)

    def _below_root(self, name: str) -> str:
        """Return what follows the name of the root folder in a path of another machine or working folder."""
        before, mark, after = name.rpartition(f"/{self._root.resolve().name}/")
        return after if mark or not name.startswith(f"{self._root.resolve().name}/") else name.partition("/")[2]

    def _index(self) -> dict[str, str | None]:
        """Return path without ending, and its ends from any folder on, to id; None where several images have it."""
        paths: dict[str, str | None] = {}
        for id in sorted(self._images):
            for parent in PurePosixPath(id).parents:
                self._folders.setdefault(parent.as_posix(), []).append(id)
            parts = self._images[id].relative_to(self._root).parts
            *folders, name = map(composed, parts)
            stem = name.rpartition(".")[0]
            for start in range(len(folders) + 1):
                key = "/".join([*folders[start:], stem])
                paths[key] = id if paths.get(key, id) == id else None
            for end in range(1, len(folders) + 1):
                self._folders.setdefault("/".join(folders[:end]), []).append(id)
        self._folders.pop(".", None)
        self._folders = {folder: list(dict.fromkeys(ids)) for folder, ids in self._folders.items()}
        return paths


def _readings(line: str) -> Iterator[tuple[str, str]]:
    """Yield the texts that may name the image, each with the rest of the line: whole, unquoted, first columns."""
    yield line, ""
    if line[0] in "'\"":
        end = line.find(line[0], 1)
        if end > 0:
            yield line[1:end].strip(), line[end + 1 :].strip(" \t,;")
    for mark in ("\t", ",", ";", None):
        first, *rest = line.split(mark, 1)
        if rest:
            yield first.strip().strip("'\""), rest[0].strip()


def _columns(line: str) -> list[str]:
    return [part.strip("'\"") for part in re.split(r"[\t,; ]+", line) if part.strip("'\"")] or [line]
