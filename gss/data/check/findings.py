"""Warnings of a check: what is readable and probably not intended."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from gss.data.check.facts import ImageFacts, MaskFacts
from gss.data.label_map import interpolated_values

_EXAMPLES = 3
_PARTIAL_ALPHA = 0.01
_STRANGE_COLORS = 8
_VOID_SHARE = 0.001
_UNIONS = ("all", "trainval")
_MANY = re.compile(r"^\{n\} (image|file|mask)s\b(.*?)\b(have|hold|are)\b")
_ONE = {"have": "has", "hold": "holds", "are": "is"}


@dataclass(frozen=True)
class Finding:
    """Warning about a split or a data set.

    Args:
        kind: short name, the key in JSON.
        count: number of files, classes or pairs concerned.
        text: line with the count and what to do.
        examples: names of some.
    """

    kind: str
    count: int
    text: str
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the text with the examples."""
        more = ", …" if self.count > len(self.examples) else ""
        return f"{self.text} ({', '.join(self.examples)}{more})" if self.examples else self.text

    def to_json(self) -> dict[str, Any]:
        """Return the finding in types that JSON knows."""
        return {"kind": self.kind, "count": self.count, "text": self.text, "examples": list(self.examples)}


def finding(kind: str, names: Sequence[str], text: str) -> list[Finding]:
    """Return a finding about some names, none if there are none; `{n}` in the text is their number."""
    if not names:
        return []
    if len(names) == 1:
        text = _MANY.sub(lambda part: f"{{n}} {part[1]}{part[2]}{_ONE[part[3]]}", text)
    return [Finding(kind, len(names), text.replace("{n}", str(len(names))), tuple(names[:_EXAMPLES]))]


@dataclass
class FileFindings:
    """Collector of facts about the files of a split.

    Attributes:
        digests: hash of the pixels to the first image that has it.
        repeated: pairs of images of the split with equal pixels.
    """

    digests: dict[bytes, str] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    _alpha: list[str] = field(default_factory=list)
    _transparent: list[str] = field(default_factory=list)
    _wide: dict[str, int] = field(default_factory=dict)
    _pages: list[str] = field(default_factory=list)
    _turned: list[str] = field(default_factory=list)
    _palettes: dict[str, dict[int, tuple[int, int, int]]] = field(default_factory=dict)
    _counts: np.ndarray = field(default_factory=lambda: np.zeros(0x10000, np.int64))
    _values: dict[str, np.ndarray] = field(default_factory=dict)
    _void: list[str] = field(default_factory=list)
    _soft: list[str] = field(default_factory=list)

    def add_image(self, path: Path, facts: ImageFacts) -> None:
        """Note the facts of a readable image."""
        name = str(path)
        if facts.transparent:
            self._transparent.append(name)
        elif facts.partial_alpha is not None and facts.partial_alpha > _PARTIAL_ALPHA:
            self._alpha.append(name)
        if facts.largest is not None:
            self._wide[name] = facts.largest
        if facts.pages > 1:
            self._pages.append(name)
        if facts.digest:
            first = self.digests.setdefault(facts.digest, name)
            if first != name:
                self.repeated.append(f"{first} = {name}")

    def add_mask(self, path: Path, facts: MaskFacts, raw: np.ndarray, image: ImageFacts) -> None:
        """Note the facts of a readable mask that has the size of its image."""
        name = str(path)
        if facts.pages > 1:
            self._pages.append(name)
        if facts.orientation == 1 and image.orientation != 1:
            self._turned.append(name)
        if facts.palette:
            self._palettes[name] = facts.palette
        if raw.ndim == 2:
            counts = np.bincount(raw.ravel(), minlength=0x10000)
            self._counts += counts
            self._values[name] = np.flatnonzero(counts)

    def add_labels(self, path: Path, *, labelled: bool, strange_colors: int) -> None:
        """Note if a mask has no labelled pixel, or many colours of no class."""
        if not labelled:
            self._void.append(str(path))
        if strange_colors > _STRANGE_COLORS:
            self._soft.append(str(path))

    def void_shares(self, ignored: Iterable[int]) -> list[tuple[str, float]]:
        """Return the share of the pixels that have each of some raw values, among masks of one channel."""
        total = max(int(self._counts.sum()), 1)
        return [(f"the value {raw}", int(self._counts[raw]) / total) for raw in ignored if raw < len(self._counts)]

    def result(self, listed: Iterable[int]) -> list[Finding]:
        """Return the findings; `listed` are the raw values that have a meaning."""
        return [
            *finding(
                "partial_alpha",
                self._alpha,
                "{n} images have an alpha channel with other values than 0 and 255, which darkens them over black: if "
                "it is a further band such as infrared, save the images without it",
            ),
            *finding(
                "transparent", self._transparent, "{n} images are transparent everywhere and become black: remove alpha"
            ),
            *self._narrow_range(),
            *finding("pages", self._pages, "{n} files have several pages, of which the first is read: split them"),
            *finding(
                "turned",
                self._turned,
                "{n} images are turned or mirrored by EXIF and their masks are not: apply the orientation to the "
                "pixels of both, or remove it",
            ),
            *self._different_palettes(),
            *self._soft_edges(set(listed)),
            *finding("void", self._void, "{n} masks have no labelled pixel: leave them out, or check ignore"),
            *finding("repeated", self.repeated, "{n} images of the split have the pixels of another: keep one of each"),
        ]

    def _narrow_range(self) -> list[Finding]:
        largest = max(self._wide.values(), default=65535)
        if largest >= 2**14:
            return []
        bits = max(largest.bit_length(), 8)
        text = (
            f"{{n}} 16-bit images use only 0 … {largest} of 0 … 65535 ({bits} bits), so they are read as almost black: "
        )
        return finding("narrow_range", list(self._wide), text + "scale them to 16 or 8 bits")

    def _different_palettes(self) -> list[Finding]:
        usual: dict[int, Counter[tuple[int, int, int]]] = {}
        for palette in self._palettes.values():
            for index, color in palette.items():
                usual.setdefault(index, Counter())[color] += 1
        colors = {index: counts.most_common(1)[0][0] for index, counts in usual.items()}
        other = [
            name
            for name, palette in self._palettes.items()
            if any(colors[index] != color for index, color in palette.items())
        ]
        text = "{n} masks have other palette colours than most for the same numbers: check that the numbers mean the "
        return finding("palettes", other, text + "same classes in all masks, or set color_coded: true in a spec")

    def _soft_edges(self, listed: set[int]) -> list[Finding]:
        between = set(interpolated_values(self._counts, listed).tolist())
        files = [name for name, values in self._values.items() if between & set(values.tolist())] + self._soft
        text = "{n} masks hold values between those of classes, as after resizing with interpolation, anti-aliasing or "
        return finding("soft_edges", files, text + "lossy compression: make them again with nearest neighbour")


def class_problems(names: Sequence[str], pixels: np.ndarray, void: Sequence[tuple[str, float]]) -> list[str]:
    """Return a line for each class that a training split cannot teach, because no pixel has its label.

    Args:
        names: class names, K.
        pixels: labelled pixels of each class `[K]`.
        void: raw values that are read as void, as text, each with its share of the pixels.
    """
    absent = [name for name, count in zip(names, pixels.tolist(), strict=True) if not count]
    if not absent:
        return []
    hints = [f"{value} ({share:.1%} of the pixels)" for value, share in void if share > _VOID_SHARE]
    lines = [f"class {name!r} has no training pixel" for name in absent]
    if hints:
        lines[0] += (
            f": {', '.join(hints)} is read as void; if it is this class, say so with label_map, and with ignore: []"
        )
    return lines


def class_findings(names: Sequence[str], pixels: np.ndarray, split: str) -> list[Finding]:
    """Return findings about the labelled pixels of a split that is not trained on.

    Args:
        names: class names, K.
        pixels: labelled pixels of each class `[K]`.
        split: name of the split.
    """
    present = [name for name, count in zip(names, pixels.tolist(), strict=True) if count]
    if not present:
        text = f"no pixel of split {split!r} has a label: check the masks, label_map and ignore"
        return [Finding("all_void", 1, text)]
    if len(present) == 1 and len(names) > 1:
        text = f"split {split!r} shows one class only, {present[0]!r}: check the masks and label_map"
        return [Finding("one_class", 1, text)]
    return []


def split_findings(splits: Sequence[tuple[str, Sequence[str], dict[bytes, str]]]) -> list[Finding]:
    """Return findings about images that two splits share, by id or by pixels.

    Args:
        splits: name, ids and `FileFindings.digests` of each split.
    """
    findings = []
    for (first, ids, digests), (second, other_ids, other_digests) in combinations(splits, 2):
        if first in _UNIONS or second in _UNIONS or _is_part(first, second):
            continue
        shared = sorted(set(ids) & set(other_ids))
        text = f"{{n}} images are in both splits {first!r} and {second!r}: list each in one of them"
        findings += finding("shared_ids", shared, text)
        same = [
            f"{path} = {other_digests[digest]}"
            for digest, path in digests.items()
            if other_digests.get(digest, path) != path
        ]
        text = (
            f"{{n}} images of split {first!r} have the pixels of an image of split {second!r}: remove one of each pair"
        )
        findings += finding("shared_pixels", same, text)
    return findings


def _is_part(first: str, second: str) -> bool:
    """Return True for splits such as `train` and `train_night`, of which one is a part of the other."""
    return first.startswith(f"{second}_") or second.startswith(f"{first}_")
