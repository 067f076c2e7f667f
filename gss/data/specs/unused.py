"""Files of a data set that no split uses, by reason."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gss.core.errors import InputError
from gss.data.files.lists import LIST_NAMES
from gss.data.files.patterns import Pattern, base_folder, find_files
from gss.data.files.walk import HIDDEN, is_hidden, walk
from gss.data.images import IMAGE_SUFFIXES, MASK_SUFFIXES
from gss.data.specs.spec import FOLDER_SPEC, DataSpec

_EXAMPLES = 3
_OTHER = "other files"
_HARMLESS = (HIDDEN, _OTHER)
# File that tells a folder which gss wrote (`gss weak make`, producers of pseudo-masks) to what else is beside the data.
_WRITTEN_BY_GSS = {
    "make.yaml": ("masks", "weak", "truth", "labelled.txt", "report.json", "sheet.png"),
    "manifest.json": ("masks", "confidence", "labelled.txt"),
}


@dataclass(frozen=True)
class Unused:
    """Files that are not used for one reason.

    Args:
        reason: reason in words, such as "images in no split".
        count: number of files.
        examples: paths of some, relative to the root of the data set.
    """

    reason: str
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        """Return a line with the count, the reason and some names."""
        more = ", …" if self.count > len(self.examples) else ""
        return f"{self.count} {self.reason} ({', '.join(self.examples)}{more})"


@dataclass(frozen=True)
class Accounting:
    """Files in the folders of a data set, used and not.

    Args:
        name: name of the data set.
        images: number of images that a split uses.
        labels: number of masks and files of weak labels that a split uses.
        unused: all other files, by reason.
        unread: splits that cannot be read, with the reason; their files count as unused.
    """

    name: str
    images: int = 0
    labels: int = 0
    unused: tuple[Unused, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def num_unused(self) -> int:
        """Number of files that may have been meant to be used; hidden files and documents do not count."""
        return sum(unused.count for unused in self.unused if unused.reason not in _HARMLESS)

    def line(self) -> str:
        """Return one line that names the unused files; empty if there are none."""
        parts = [str(unused) for unused in self.unused if unused.reason not in _HARMLESS]
        parts += [f"split {text}" for text in self.unread]
        count = self.num_unused
        return f"data set {self.name!r}: {count} files are not used: {'; '.join(parts)}" if parts else ""

    def to_json(self) -> dict[str, Any]:
        """Return the counts in types that JSON knows."""
        return {
            "schema_version": 1,
            "name": self.name,
            "images": self.images,
            "labels": self.labels,
            "unused": {
                unused.reason: {"count": unused.count, "examples": list(unused.examples)} for unused in self.unused
            },
            "unread_splits": list(self.unread),
        }


def accounting(spec: DataSpec) -> Accounting:
    """Compare the files in the folders of a data set with those that its splits use; no file is opened but lists.

    Looked at are the folders that the patterns of images and masks begin with, and the files beside them in the root.
    A generated data set has no files; those of a mixture are those of its domains.

    Raises:
        InputError: no root folder, or a folder cannot be read.
    """
    if spec.generator is not None:
        return Accounting(spec.name)
    if spec.domains:
        return _merged(spec.name, [(domain.name, accounting(domain.spec)) for domain in spec.domains])
    images: set[str] = set()
    labels: set[str] = set()
    replaced: set[str] = set()  # full masks of images that have weak labels in the same split
    unread = []
    find = cache(find_files)  # splits with lists share their patterns
    for split in spec.available_splits():
        try:
            samples = spec.samples(split, find=find)
        except InputError as error:
            unread.append(f"{split}: {error}")
            continue
        for sample in samples:
            if "image" not in sample.missing:
                images.add(str(sample.image))
            if "mask" not in sample.missing:
                labels.add(str(sample.mask))
            if sample.segments is not None:
                labels.add(str(sample.segments))
        if spec.mask and spec.weak is not None and spec.weak.covers(split):
            full = find(spec.folder(), spec.mask.replace("{split}", spec.splits.get(split, split)), MASK_SUFFIXES)
            replaced |= {str(full[sample.id]) for sample in samples if sample.id in full}
    tally = _Tally(spec)
    for place in dict.fromkeys(base_folder(pattern) for pattern in (spec.image, spec.mask) if pattern):
        tally.add_folder(place, images | labels | replaced)
    tally.add_root()
    return Accounting(spec.name, len(images), len(labels), tally.result(), tuple(unread))


class _Tally:
    """Collector of unused files."""

    def __init__(self, spec: DataSpec) -> None:
        self._spec, self._root = spec, spec.folder()
        self._found: dict[str, list[str]] = {}
        parts = list(dict.fromkeys(spec.splits.values())) or [""]
        self._masks = [Pattern(spec.mask.replace("{split}", part), MASK_SUFFIXES) for part in parts if spec.mask]
        self._bases = {base_folder(pattern) for pattern in (spec.image, spec.mask) if pattern}
        self._seen: set[str] = set()

    def result(self) -> tuple[Unused, ...]:
        return tuple(
            Unused(reason, len(names), tuple(sorted(names)[:_EXAMPLES])) for reason, names in self._found.items()
        )

    def add(self, reason: str, path: str) -> None:
        name = os.path.relpath(path, self._root)
        if name not in self._seen:
            self._seen.add(name)
            self._found.setdefault(reason, []).append(name)

    def add_folder(self, base: str, used: set[str]) -> None:
        """Add the unused files below a folder of the patterns."""
        for folder in walk(self._root / base):
            for name, reason in folder.skipped:
                self.add(reason, os.path.join(folder.path, name))
            for name in folder.files:
                path = os.path.join(folder.path, name)
                if path not in used:
                    self.add(self._reason(base, folder.inner, name), path)

    def _reason(self, base: str, inner: str, name: str) -> str:
        image, mask = base == base_folder(self._spec.image), base == base_folder(self._spec.mask)
        suffix = Path(name).suffix.lower()
        if not inner and not base:  # beside the folders
            return self._root_reason(name)
        if mask and any(self._is_mask(pattern, base, inner, name) for pattern in self._masks):
            return "masks of no image in a split"
        if image and mask:
            return "files that match no pattern"
        if image:
            return "images in no split" if suffix in IMAGE_SUFFIXES else "files beside the images that are not read"
        return "files beside the masks that are not read"

    @staticmethod
    def _is_mask(pattern: Pattern, base: str, inner: str, name: str) -> bool:
        place = f"{base}/{inner}".strip("/")
        if place != pattern.base and not f"{place}/".startswith(f"{pattern.base}/" if pattern.base else ""):
            return False
        return pattern.id_of(place[len(pattern.base) :].strip("/"), name) is not None

    def add_root(self) -> None:
        """Add the files and folders of the root that have no role."""
        if "" in self._bases:
            return
        tops = {base.partition("/")[0] for base in self._bases}
        for marker, names in _WRITTEN_BY_GSS.items():
            tops |= {*names} if (self._root / marker).is_file() else set()
        if self._spec.weak is not None or self._spec.list_file or self._spec.panoptic:
            more = [*(self._spec.weak.path if self._spec.weak else ()), self._spec.list_file, self._spec.panoptic]
            tops |= {base_folder(pattern).partition("/")[0] for pattern in more if pattern}
        for entry in sorted(os.scandir(self._root), key=lambda entry: entry.name):
            if is_hidden(entry.name):
                self.add(HIDDEN, entry.path)
            elif entry.is_dir():
                if entry.name not in tops:
                    self.add("folders that the data set does not name", entry.path)
            elif entry.name not in tops and not self._has_role(entry.name):
                self.add(self._root_reason(entry.name), entry.path)

    def _has_role(self, name: str) -> bool:
        spec = self._spec
        lists: Iterable[str] = spec.splits.values() or spec.available_splits()
        roles = {spec.list_file.replace("{split}", part) for part in lists} if spec.list_file else set()
        roles |= {spec.panoptic.replace("{split}", part) for part in lists} if spec.panoptic else set()
        if spec.weak is not None:
            roles |= {pattern.replace("{split}", part) for pattern in spec.weak.path for part in lists}
            roles |= {name for name in (spec.weak.only, spec.weak.ids) if name}
        return name in roles | {FOLDER_SPEC, "classes.json", "manifest.json"} or name.lower().endswith(
            (".yaml", ".yml")
        )

    def _root_reason(self, name: str) -> str:
        suffix = Path(name).suffix.lower()
        if suffix in (*IMAGE_SUFFIXES, *MASK_SUFFIXES):
            return "pictures beside the folders of images and masks"
        if Path(name).stem.lower() in LIST_NAMES and suffix != ".txt":
            return "files named like a split that are not .txt lists"
        if suffix == ".txt" and (self._spec.undivided or self._spec.list_file == "{split}.txt"):
            return "text files that are not lists of images"
        return _OTHER


def _merged(name: str, parts: list[tuple[str, Accounting]]) -> Accounting:
    """Return the accounts of domains as one, with the domain before each example."""
    unused: dict[str, tuple[int, tuple[str, ...]]] = {}
    for domain, part in parts:
        for entry in part.unused:
            count, examples = unused.get(entry.reason, (0, ()))
            named = tuple(f"{domain}: {example}" for example in entry.examples)
            unused[entry.reason] = (count + entry.count, (*examples, *named)[:_EXAMPLES])
    return Accounting(
        name,
        sum(part.images for _, part in parts),
        sum(part.labels for _, part in parts),
        tuple(Unused(reason, *entry) for reason, entry in unused.items()),
        tuple(f"{domain} {text}" for domain, part in parts for text in part.unread),
    )
