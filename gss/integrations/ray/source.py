"""What a source URL leads to: image files, and tar shards of them, on any file system of fsspec."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec.core import split_protocol

from gss.core.errors import InputError
from gss.data.files import distinct_names, is_hidden, natural_key
from gss.data.images import IMAGE_SUFFIXES
from gss.integrations.ray.files import chained, is_local, local_path, one_error, only_here, open_url

SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True)
class Item:
    """An image file or a tar shard.

    Attributes:
        url: URL of the file system.
        path: path in it.
        id: what records call it.
        name: path of its results, without endings; of a shard, the folder of theirs.
    """

    url: str
    path: str
    id: str
    name: str

    @property
    def is_shard(self) -> bool:
        """Whether it is a tar archive of images."""
        return self.path.lower().endswith(SHARD_SUFFIXES)

    @property
    def only_here(self) -> bool:
        """Whether other processes cannot read it."""
        return only_here(self.url)

    @property
    def changed(self) -> float | None:
        """Time of the last change of a file of this machine, in seconds; None if it is not known."""
        try:
            return os.stat(self.path).st_mtime if is_local(self.url) else None
        except OSError:
            return None


def find_items(source: str, *, exclude: str | None = None) -> list[Item]:
    """Return the images and shards that a source leads to, numbers in names counted as numbers.

    Args:
        source: URL or path of a folder (searched through), a file, or files by a glob or a range as `{000..012}`.
        exclude: URL whose contents are skipped in searches: the output of an earlier run.

    Raises:
        InputError: it is not there, may not be read, or leads to no image.
    """
    found: dict[tuple[str, str], tuple[str, str]] = {}  # URL and path to the path below the source, and the id
    for url in map(chained, _ranges(source)):
        for path, inner, id in _search(url):
            found.setdefault((url, path), (inner, id))
    skip = None if exclude is None else _key(exclude).rstrip("/") + "/"
    kept = {key: value for key, value in found.items() if skip is None or not f"{_key(value[1])}/".startswith(skip)}
    if found and not kept:
        raise InputError(f"source {source} lies in the output {exclude}: choose another --out")
    if not kept:
        raise InputError(
            f"source {source} holds no image; readable are {', '.join(IMAGE_SUFFIXES)} and shards "
            f"{', '.join(SHARD_SUFFIXES)}"
        )
    below = [Path(value[0]) for value in kept.values()]
    names = distinct_names([safe_name(str(path)) for path in below], below)
    return [Item(url, path, id, name) for ((url, path), (_, id)), name in zip(kept.items(), names, strict=True)]


def safe_name(path: str) -> str:
    """Return a path without suffix and without parts that lead out of a folder."""
    lower = path.lower()
    ending = next((suffix for suffix in (".tar.gz", *IMAGE_SUFFIXES, *SHARD_SUFFIXES) if lower.endswith(suffix)), "")
    stem = path[: len(path) - len(ending)] if ending else path
    parts = [part for part in PurePosixPath(stem.replace("\\", "/")).parts if part not in ("/", "..")]
    return "/".join(parts) or "image"


def _search(url: str) -> Iterator[tuple[str, str, str]]:
    """Yield path, path below the source, and id of each readable file."""
    files, path = open_url(url, "source")
    # 1. The files, and the path that theirs begin with.
    with one_error(f"read source {url}"):
        if glob.has_magic(path) and not files.exists(path):
            parts = PurePosixPath(path).parts
            base = str(PurePosixPath(*parts[: next(n for n, part in enumerate(parts) if glob.has_magic(part))]))
            paths = [each for each in files.glob(path) if files.isfile(each)]
            if not paths:
                raise InputError(f"source {url} matches no file")
        elif (kind := files.info(path)["type"]) == "directory":
            base, paths = path, list(files.find(path))
        elif kind == "file":
            base, paths = str(PurePosixPath(path).parent), [path]
        else:
            raise InputError(f"source {url} is neither a file nor a folder")

    # 2. Those that can be read, in order.
    base = "" if base in (".", "/") else base.rstrip("/")
    inner = {each: each[len(base) :].lstrip("/") for each in paths}
    for each in sorted(paths, key=lambda each: natural_key(Path(inner[each]))):
        shown = not any(is_hidden(part) for part in PurePosixPath(inner[each]).parts if part != "..")
        if shown and each.lower().endswith((*IMAGE_SUFFIXES, *SHARD_SUFFIXES)):
            yield each, inner[each], _id(url, files, path, each)


def _id(url: str, files: Any, root: str, path: str) -> str:
    """Return the URL of a file, in the spelling of the source."""
    if is_local(url):
        given = local_path(url)
        below = path[len(root) :].lstrip("/") if path != root and not glob.has_magic(root) else None
        return str(Path(given) / below) if below is not None else given if path == root else path
    protocol, _ = split_protocol(url)
    outer = url.partition("::")[2]
    return f"{protocol}://{path.lstrip('/')}" + (f"::{outer}" if outer else "")


def _ranges(url: str) -> Iterator[str]:
    """Yield the URLs of one with ranges such as `{000..012}`, whose zeros are kept."""
    found = _RANGE.search(url)
    if found is None:
        yield url
        return
    first, last = found[1], found[2]
    for number in range(int(first), int(last) + 1):
        yield from _ranges(f"{url[: found.start()]}{number:0{len(first)}d}{url[found.end() :]}")


def _key(url: str) -> str:
    """Return what URLs of one place share."""
    return str(Path(local_path(url)).absolute()) if is_local(url) else url
