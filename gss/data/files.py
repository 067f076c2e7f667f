"""Find the files of a split: id lists, patterns with `{id}` and any-suffix look-ups."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gss.core.errors import InputError
from gss.data.images import IMAGE_SUFFIXES, MASK_SUFFIXES


@dataclass(frozen=True)
class Sample:
    """One image and its mask.

    Args:
        id: id from the list or the file name.
        image, mask: paths; where the file is not there, the path it should have.
        missing: which of "image" and "mask" are not there.
        segments: JSON file that says what the segments of a panoptic mask are.
    """

    id: str
    image: Path
    mask: Path
    missing: tuple[str, ...] = ()
    segments: Path | None = None


def read_list(path: Path) -> list[str]:
    """Ids in a list file, one a line, with or without an image suffix; blanks and repeats are skipped.

    Raises:
        ValueError: the file cannot be read as text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read split list {path}: {error}") from error
    return list(dict.fromkeys(without_suffix(line.strip()) for line in lines if line.strip()))


def find_ids(root: Path, pattern: str) -> list[str]:
    """Sorted ids of the files below `root` that match `pattern`; ids may contain `/`."""
    return sorted(find_files(root, pattern, IMAGE_SUFFIXES))


def pair_up(root: Path, image: str, mask: str, ids: list[str]) -> list[Sample]:
    """Look up image and mask of every id; folders are listed once instead of asking for each file.

    Args:
        root: folder of the data set.
        image: pattern of the images, see `find_files`.
        mask: pattern of the masks.
        ids: ids, or lines of a list file: those may also be paths of images below `root`, or folders of ids.
    """
    images, masks = find_files(root, image, IMAGE_SUFFIXES), find_files(root, mask, MASK_SUFFIXES)
    samples = []
    for id in _expand(ids, images, root):
        found = images.get(id), masks.get(id)
        missing = tuple(kind for kind, path in zip(("image", "mask"), found, strict=True) if path is None)
        expected = root / _fill(image, id), root / _fill(mask, id)
        samples.append(Sample(id, found[0] or expected[0], found[1] or expected[1], missing))
    return samples


def _expand(lines: list[str], images: Mapping[str, Path], root: Path) -> list[str]:
    """Ids that the lines of a list stand for; a line that stands for nothing is the id of a missing image."""
    if all(line in images for line in lines):
        return lines
    by_path = {without_suffix(path.relative_to(root).as_posix()): id for id, path in images.items()}
    folders: dict[str, list[str]] = {}
    for id in sorted(images):
        for parent in PurePosixPath(id).parents:
            folders.setdefault(parent.as_posix(), []).append(id)
    ids = [[line] if line in images else [by_path[line]] if line in by_path else folders.get(line) for line in lines]
    return list(dict.fromkeys(id for line, found in zip(lines, ids, strict=True) for id in found or [line]))


def check_patterns(image: str, mask: str) -> None:
    """Require as many `*` in the pattern of the masks as in that of the images, and none behind `{id}`.

    Raises:
        ValueError: otherwise.
    """
    before = [pattern.partition("{id}")[0].count("*") for pattern in (image, mask)]
    if before != [pattern.removesuffix(".*").count("*") for pattern in (image, mask)] or before[0] != before[1]:
        raise InputError(f"image is {image!r} and mask {mask!r}; both need the same number of *, all before {{id}}")


def find_files(root: Path, pattern: str, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Id to file for everything below `root` that matches `pattern`.

    Args:
        root: folder of the data set.
        pattern: relative path with `{id}`; a final `.*` stands for any of `suffixes`. A `*` before `{id}` stands
            for part of one folder or file name, and the ids then begin with what it stands for, as in
            `fog/GOPR0475_frame_000041` for `rgb_anon/*/train/{id}.png`.
        suffixes: file name endings, lower case.
    """
    any_suffix = pattern.endswith(".*")
    before, *rest = re.split(r"(\{id\}|\*)", pattern.removesuffix(".*"))
    base = before.rpartition("/")[0]
    expression = re.escape(before)
    for part in rest:
        if part == "{id}":  # a second {id} repeats the first: `{id}/{id}.png`
            expression += "(?P=id)" if "(?P<id>" in expression else "(?P<id>.+)"
        else:
            expression += "([^/]+)" if part == "*" else re.escape(part)
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
                found.setdefault("/".join(match.groups()), Path(folder, name))
    return found


def _fill(pattern: str, id: str) -> str:
    """Path of an id; where it has too few parts for the wildcards, they stay."""
    wildcards = pattern.removesuffix(".*").count("*")
    *folders, rest = id.split("/", wildcards)
    for folder in folders if len(folders) == wildcards else ():
        pattern = pattern.replace("*", folder, 1)
    return pattern.replace("{id}", rest if len(folders) == wildcards else id)


def without_suffix(line: str) -> str:
    """File name of an image without its ending; other text as it is."""
    suffix = Path(line).suffix
    return line[: -len(suffix)] if suffix.lower() in IMAGE_SUFFIXES else line


def find_images(arguments: Sequence[str], *, exclude: Path | None = None) -> list[Path]:
    """Image files named by paths, folders (searched through) and globs, each once, in the order given.

    Args:
        arguments: what the user typed.
        exclude: folder whose contents are skipped when searching: the output of an earlier run.

    Raises:
        ValueError: an argument that leads to no image.
    """
    skip = exclude.resolve() if exclude is not None else None
    found: dict[Path, Path] = {}
    for argument in arguments:
        path = Path(argument)
        if path.is_file():
            found.setdefault(path.resolve(), path)
            continue
        if path.is_dir():
            candidates, place = list(path.rglob("*")), f"folder {argument} holds"
        elif glob.has_magic(argument):
            candidates = [Path(match) for match in glob.glob(argument, recursive=True)]
            place = f"glob {argument!r} matches"
        else:
            raise InputError(f"{argument}: no such image or folder; check the path (quote globs)")
        images = {
            candidate.resolve(): candidate
            for candidate in sorted(candidates)
            if candidate.suffix.lower() in IMAGE_SUFFIXES and candidate.is_file()
        }
        images = {full: path for full, path in images.items() if skip is None or skip not in full.parents}
        if not images:
            raise InputError(f"{place} no image; readable are {', '.join(IMAGE_SUFFIXES)}")
        for full, image in images.items():
            found.setdefault(full, image)
    return list(found.values())


def output_names(paths: Sequence[Path]) -> list[str]:
    """One distinct name per file: its stem, after as many parent folders as needed to tell files apart.

    Names also differ where case is ignored. Files that differ in suffix alone keep it (`a_png`, `a_jpg`).
    """
    full = [path.resolve() for path in paths]
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
