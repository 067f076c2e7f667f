"""What the values or colours of masks mean, by looking at them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from gss.core.errors import InputError
from gss.core.words import counted
from gss.data.images import load_color_mask, load_mask
from gss.data.label_map import interpolated_values
from gss.data.layouts.classes import ClassNames
from gss.labels.space import IGNORE_INDEX, MAX_CLASSES

_SCAN_LIMIT = 2000
_FEW_COLORS = 32
_COLOR_NAMES = {
    (0, 0, 0): "background",
    (255, 0, 0): "red",
    (0, 255, 0): "green",
    (0, 0, 255): "blue",
    (255, 255, 0): "yellow",
    (255, 0, 255): "magenta",
    (0, 255, 255): "cyan",
    (255, 255, 255): "white",
}


@dataclass(frozen=True)
class Meaning:
    """What masks mean.

    Attributes:
        keys: keys of a data spec: `classes`, `label_map`, `ignore`, and `color_coded` where colours are classes.
        words: the same in words, for the user.
    """

    keys: Mapping[str, Any]
    words: str


@dataclass(frozen=True)
class _Scan:
    """Values of masks: pixels of each grey value `[V]`, or of each colour; `grey` if all channels are equal.

    `paths` are the files that were read.
    """

    counts: np.ndarray
    colors: dict[int, int]
    colored: bool
    grey: bool
    paths: tuple[Path, ...]

    @property
    def read(self) -> int:
        """Number of masks."""
        return len(self.paths)


def find_meaning(masks: Sequence[Path], names: ClassNames, hints: Mapping[str, Any], place: str) -> Meaning:
    """Return what masks mean.

    1. One channel, or three equal ones: numbers of classes, 255 is void; 0 and 255 alone are background and object.
    2. Colours: one class each.

    Args:
        masks: mask files; at most 2000 are read.
        names: names of classes that lie beside them.
        hints: keys of a spec that the user gave; they decide.
        place: where the masks lie, for messages.

    Raises:
        InputError: unreadable masks, values that interpolation or compression made, or two meanings that fit; the
            message gives both, and the line that decides.
    """
    step = -(-len(masks) // _SCAN_LIMIT)
    chosen = masks[::step]
    stamps = tuple((str(path), *_stamp(path)) for path in chosen)
    scan = _scan(stamps)
    read = "" if len(chosen) == len(masks) else f" (by {len(chosen)} of {len(masks)} masks)"
    if scan.colored and not scan.grey:
        meaning = _of_colors(scan, names, place)
    else:
        meaning = _of_values(scan, names, hints, place)
        if scan.colored:
            meaning = _in_three_channels(meaning)
    given = {key: hints[key] for key in ("classes", "label_map", "ignore", "unlisted", "color_coded") if key in hints}
    keys = {**meaning.keys, **given}
    if "classes" in given and "label_map" not in given and len(given["classes"]) != len(meaning.keys["classes"]):
        keys.pop("label_map", None)
    return Meaning(keys, meaning.words + read)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        info = os.stat(path)
    except OSError:
        return 0, 0
    return info.st_mtime_ns, info.st_size


@lru_cache(maxsize=16)
def _scan(stamps: tuple[tuple[str, int, int], ...]) -> _Scan:
    """Read masks; the result is kept as long as names, times and sizes of the files are the same."""
    paths = [Path(path) for path, *_ in stamps]
    colored = any(_has_channels(path) for path in paths)
    counts, grey = np.zeros(0x10000, np.int64), True
    colors: dict[int, int] = {}
    for path in tqdm(paths, desc="reading mask values", disable=None if len(paths) >= 200 else True, leave=False):
        if not colored:
            counts += np.bincount(load_mask(path).ravel(), minlength=len(counts))
            continue
        rgb = load_color_mask(path).reshape(-1, 3)  # [H * W, 3]
        grey = grey and bool((rgb == rgb[:, :1]).all())
        packed, pixels = np.unique(rgb.astype(np.int64) @ [0x10000, 0x100, 1], return_counts=True)
        for color, count in zip(packed.tolist(), pixels.tolist(), strict=True):
            colors[color] = colors.get(color, 0) + count
        if len(colors) > 0x8000:
            break
    if colored and grey:
        for color, count in colors.items():
            counts[color & 255] += count
    return _Scan(counts, colors, colored, grey, tuple(paths))


def _has_channels(path: Path) -> bool:
    """Return whether a file holds colours instead of numbers; damaged files show when they are read."""
    try:
        with Image.open(path) as image:
            return image.mode in ("RGB", "RGBA", "RGBX", "LA", "PA")
    except Exception:  # Pillow raises anything for damaged files
        return False


def _of_values(scan: _Scan, names: ClassNames, hints: Mapping[str, Any], place: str) -> Meaning:
    """Return the meaning of numbers; see `find_meaning`."""
    values = np.flatnonzero(scan.counts).tolist()
    _refuse_soft(scan, values, place)
    if not values or values == [IGNORE_INDEX] or (values[-1] > 255 and len(values) > MAX_CLASSES):
        held = "only 255" if values == [IGNORE_INDEX] else f"{len(values)} values up to {max(values, default=0)}"
        raise InputError(f"masks in {place} hold {held}; write classes.json with the values that are classes")
    if names.by_value:
        strange = sorted(set(values) - set(names.by_value) - {IGNORE_INDEX})
        if strange:
            raise InputError(f"masks in {place} hold {_listed(strange)}, which {names.source} does not name; add them")
        return _table({raw: name for raw, name in sorted(names.by_value.items())}, f"classes from {names.source}")
    if values == [0, IGNORE_INDEX]:
        pair = names.by_order if len(names.by_order) == 2 else ("background", "object")
        words = f"0 and 255 in the masks are {pair[0]} and {pair[1]}"
        return Meaning({"classes": list(pair), "label_map": [0, 255], "ignore": []}, words)
    inner = [value for value in values if value != IGNORE_INDEX]
    sparse = max(inner) >= 2 * len(inner) + 8
    spread = max(np.diff(inner), default=0) * 1.5 >= IGNORE_INDEX - max(inner)  # as 0, 128 and 255 are
    if sparse and spread and IGNORE_INDEX in values and "ignore" not in hints and "label_map" not in hints:
        raise InputError(
            f"masks in {place} hold {_listed(values)}: 255 may be void, as usual beside class numbers, or the last of "
            f"{len(values)} classes; decide with ignore=255 or ignore=[] in 'gss data init', or as `ignore: 255` or "
            "`ignore: []` in data.yaml in the folder"
        )
    if sparse:
        void = hints.get("ignore", IGNORE_INDEX)
        kept = inner if void == IGNORE_INDEX else values
        if names.by_order and len(names.by_order) == len(kept):
            table = dict(zip(kept, names.by_order, strict=True))
        else:
            table = {value: f"class_{value}" for value in kept}
        return _table(table, f"{len(kept)} classes, the values {_listed(kept)}", void=void)
    count = max(inner) + 1
    if count > MAX_CLASSES:
        raise InputError(
            f"masks in {place} hold values up to {max(inner)}; write classes.json with those that are classes"
        )
    if names.by_order:
        if len(names.by_order) < count:
            raise InputError(
                f"{names.source} names {len(names.by_order)} classes, but masks in {place} hold values up to "
                f"{max(inner)}; add the names that are missing, or correct the masks"
            )
        listed = ", ".join(names.by_order[:3]) + (", …" if len(names.by_order) > 3 else "")
        return Meaning(
            {"classes": list(names.by_order)}, f"{len(names.by_order)} classes ({listed}) from {names.source}"
        )
    classes = [f"class_{k}" for k in range(count)]
    words = f"inferred {count} classes {classes[0]}..{classes[-1]} and void 255 from the values of {scan.read} masks"
    return Meaning({"classes": classes}, f"{words}; write classes.json to name them")


def _refuse_soft(scan: _Scan, values: list[int], place: str) -> None:
    """Refuse values that interpolation or compression has made, and a single one that a slip has."""
    counts = scan.counts
    between = interpolated_values(counts)
    if not len(between):
        return
    holding = [path for path in scan.paths if np.isin(_numbers(path, colored=scan.colored), between).any()]
    where = f"first: {holding[0].name}, {len(holding)} of {counted(scan.read, 'mask')}"
    example = (
        f'classes.json, for example {{"classes": {{"{values[0]}": "background", "{values[-1]}": "object"}}, '
        '"ignore_index": null}'
    )
    if len(between) == 1:
        pixels = counted(int(counts[between[0]]), "pixel")
        raise InputError(
            f"masks in {place} hold {values[0]}, {values[-1]} and, in {pixels}, the value {between[0]} ({where}), "
            f"which looks like no class: give these pixels one of the other values, or say what each value means in "
            f"{example}"
        )
    one = len(holding) == 1
    raise InputError(
        f"masks in {place} hold {values[0]}, {values[-1]} and, in {counts[between].sum() / counts.sum():.1%} of "
        f"the pixels, {len(between)} values in between ({where}): {'it was' if one else 'they were'} resized with "
        f"interpolation, anti-aliased or compressed; make {'it' if one else 'them'} again with nearest neighbour, or "
        f"threshold {'it' if one else 'them'}, and say what the values mean in {example}"
    )


def _numbers(path: Path, *, colored: bool) -> np.ndarray:
    """Return the values of a mask `[H, W]`; of one in colour, those of the first of three equal channels."""
    return load_color_mask(path)[..., 0] if colored else load_mask(path)


def _table(table: dict[int, str], words: str, void: Any = IGNORE_INDEX) -> Meaning:
    ignore = [] if void in list(table) else void
    return Meaning({"classes": list(table.values()), "label_map": list(table), "ignore": ignore}, words)


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:8])) + (f", … up to {values[-1]}" if len(values) > 8 else "")


def _in_three_channels(meaning: Meaning) -> Meaning:
    """Return the same numbers as colours with three equal channels."""
    keys = dict(meaning.keys)
    values = keys.get("label_map", list(range(len(keys["classes"]))))
    ignore = keys.get("ignore", IGNORE_INDEX)
    keys["label_map"] = [[value] * 3 for value in values]
    keys["ignore"] = [[value] * 3 for value in (ignore if isinstance(ignore, list) else [ignore])]
    return Meaning(keys | {"color_coded": True}, f"{meaning.words}, in three equal channels")


def _of_colors(scan: _Scan, names: ClassNames, place: str) -> Meaning:
    """Return the meaning of colours; see `find_meaning`."""
    total = sum(scan.colors.values())
    colors = {_rgb(color): count for color, count in sorted(scan.colors.items())}
    if names.by_color:
        strange = [color for color in colors if color not in names.by_color]
        if sum(colors[color] for color in strange) > 0.01 * total:
            raise InputError(
                f"masks in {place} hold {len(strange)} colours that {names.source} does not name, such as "
                f"{strange[0]}; add them, or correct the masks"
            )
        table = {name: list(color) for color, name in names.by_color.items()}
        if len(table) < len(names.by_color):
            raise InputError(f"{names.source} gives one class two colours; give each class one name")
        return Meaning(
            {"classes": table, "color_coded": True, "ignore": []}, f"{len(table)} colours from {names.source}"
        )
    rare = [color for color, count in colors.items() if count < 1e-4 * total]
    if len(colors) > MAX_CLASSES or (len(colors) > _FEW_COLORS and 2 * len(rare) > len(colors)):
        raise InputError(
            f"masks in {place} hold {'more than ' if len(colors) > 0x8000 else ''}{len(colors)} colours, most of them "
            "rare: they were resized with interpolation, anti-aliased or compressed, or are photographs; make them "
            "again with one flat colour a class"
        )
    classes = {_COLOR_NAMES.get(color, "color_{:02x}{:02x}{:02x}".format(*color)): list(color) for color in colors}
    words = f"{len(classes)} classes, one a colour: {', '.join(list(classes)[:6])}{', …' if len(classes) > 6 else ''}"
    return Meaning({"classes": classes, "color_coded": True, "ignore": []}, words)


def _rgb(color: int) -> tuple[int, int, int]:
    return color >> 16, color >> 8 & 255, color & 255


def looks_like_mask(path: Path) -> bool:
    """Return whether a picture has so few values that it may be a mask; damaged files may not."""
    try:
        with Image.open(path) as image:
            if image.mode in ("1", "P"):
                return True
            small = np.asarray(image.convert("RGB")).reshape(-1, 3).astype(np.int64)
    except Exception:  # Pillow raises anything for damaged files
        return False
    return len(np.unique(small @ [0x10000, 0x100, 1])) <= _FEW_COLORS
