"""Files that match a pattern with `{id}`."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from gss.core.errors import InputError
from gss.data.files.walk import walk
from gss.data.images import IMAGE_SUFFIXES


def composed(text: str) -> str:
    """Return text in the composed Unicode form (NFC), so that names from macOS and others are equal."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def without_suffix(line: str) -> str:
    """Return the name of an image without its ending and in the form of ids; other text keeps its end."""
    suffix = Path(line).suffix
    return composed(line[: -len(suffix)] if suffix.lower() in IMAGE_SUFFIXES else line)


def find_ids(root: Path, pattern: str) -> list[str]:
    """Return the sorted ids of the images below `root` that match `pattern`; ids may contain `/`."""
    return sorted(find_files(root, pattern, IMAGE_SUFFIXES))


def check_patterns(image: str, mask: str) -> None:
    """Require as many `*` in the pattern of the masks as in that of the images, and none behind `{id}`.

    Raises:
        InputError: otherwise.
    """
    before = [pattern.partition("{id}")[0].count("*") for pattern in (image, mask)]
    if before != [pattern.removesuffix(".*").count("*") for pattern in (image, mask)] or before[0] != before[1]:
        raise InputError(f"image is {image!r} and mask {mask!r}; both need the same number of *, all before {{id}}")


def base_folder(pattern: str) -> str:
    """Return the folders that a pattern begins with, before its first `{…}` or `*`; empty for the root."""
    return re.split(r"\{|\*", pattern.removesuffix(".*"), maxsplit=1)[0].rpartition("/")[0]


class Pattern:
    """Matcher of paths below a root.

    Args:
        pattern: relative path with `{id}`; a final `.*` stands for any of `suffixes`. A `*` before `{id}` stands
            for part of a folder or file name, and the ids then begin with that part, as in
            `fog/GOPR0475_frame_000041` for `rgb_anon/*/train/{id}.png`. Upper and lower case of the ending are equal.
        suffixes: endings of file names, lower case.
    """

    def __init__(self, pattern: str, suffixes: tuple[str, ...]) -> None:
        self.base = base_folder(pattern)
        self._suffixes = suffixes
        self._any = pattern.endswith(".*")
        # The usual pattern, `images/{id}.*`: the id is the path below `base` without its ending.
        self._plain = self._any and pattern == (f"{self.base}/{{id}}.*" if self.base else "{id}.*")
        text = composed(pattern.removesuffix(".*"))
        ending = "" if self._any else re.search(r"(\.[A-Za-z0-9]+)?$", text)[0]  # type: ignore[index]
        expression = ""
        for part in re.split(r"(\{id\}|\*)", text[: len(text) - len(ending)]):
            if part == "{id}":  # a second {id} repeats the first: `{id}/{id}.png`
                expression += "(?P=id)" if "(?P<id>" in expression else "(?P<id>.+)"
            else:
                expression += "([^/]+)" if part == "*" else re.escape(part)
        self._matcher = re.compile(expression + (r"\.[^./]+" if self._any else f"(?i:{re.escape(ending)})"))

    def id_of(self, inner: str, name: str) -> str | None:
        """Return the id of a file, None if it does not match.

        Args:
            inner: path of its folder below `base`, empty for `base` itself.
            name: file name.
        """
        if self._any and not name.lower().endswith(self._suffixes):
            return None
        if self._plain:
            stem = name[: name.rindex(".")]
            return composed(f"{inner}/{stem}" if inner else stem) if stem else None
        match = self._matcher.fullmatch(composed("/".join(part for part in (self.base, inner, name) if part)))
        return "/".join(match.groups()) if match else None


def find_files(root: Path, pattern: str, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Return id to file for everything below `root` that matches `pattern`, see `Pattern`.

    Ids are in the composed Unicode form; paths are as on disk.

    Raises:
        InputError: two files have one id (names both), or a folder cannot be read.
    """
    remembered, key = _remembered.get(), (os.fspath(root), pattern, suffixes)
    if remembered is not None and key in remembered:
        return dict(remembered[key])
    files: dict[str, Path] = {}
    repeated: list[tuple[str, Path]] = []
    for id, folder, name in matching_files(root, pattern, suffixes):
        path = folder / name
        if files.setdefault(id, path) is not path:
            repeated.append((id, path))
    if repeated:
        id, path = repeated[0]
        more = f" ({len(repeated)} such pairs)" if len(repeated) > 1 else ""
        raise InputError(
            f"two files have the id {id!r}: {files[id]} and {path}{more}; keep one of them, or give the ending in the "
            "pattern of a spec"
        )
    if remembered is not None:
        remembered[key] = dict(files)
    return files


_Found = dict[tuple[str, str, tuple[str, ...]], dict[str, Path]]
_remembered: ContextVar[_Found | None] = ContextVar("remembered", default=None)


@contextmanager
def files_remembered() -> Iterator[None]:
    """Let `find_files` remember its results for a block of code that opens a data set several times."""
    if _remembered.get() is not None:
        yield
        return
    before = _remembered.set({})
    try:
        yield
    finally:
        _remembered.reset(before)


def matching_files(root: Path, pattern: str, suffixes: tuple[str, ...]) -> Iterator[tuple[str, Path, str]]:
    """Yield id, folder and name of everything below `root` that matches `pattern`, see `Pattern`.

    Raises:
        InputError: a folder cannot be read.
    """
    matcher = Pattern(pattern, suffixes)
    for folder in walk(root / matcher.base):
        path = Path(folder.path)
        for name in folder.files:
            id = matcher.id_of(folder.inner, name)
            if id is not None:
                yield id, path, name


def fill(pattern: str, id: str) -> str:
    """Return the path that a pattern gives for an id; an id with too few parts leaves the wildcards."""
    wildcards = pattern.removesuffix(".*").count("*")
    *folders, rest = id.split("/", wildcards)
    for folder in folders if len(folders) == wildcards else ():
        pattern = pattern.replace("*", folder, 1)
    return pattern.replace("{id}", rest if len(folders) == wildcards else id)
