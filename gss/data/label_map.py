"""Meaning of raw mask values: numbers or colours in a file to labels 0..K-1 and 255."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from gss.core.errors import InputError
from gss.labels.space import IGNORE_INDEX

_UNKNOWN = -1


def interpolated_values(counts: np.ndarray, listed: Collection[int] = ()) -> np.ndarray:
    """Return the mask values that interpolation, anti-aliasing or lossy compression has made of others.

    Class numbers are frequent or lie close together. Interpolation leaves rare values all over the range between
    frequent ones: between the smallest and the largest (two classes), or between any frequent ones.

    Args:
        counts: pixels of each raw value `[V]`, over all masks.
        listed: values that have a meaning; these are never returned.

    Returns:
        Values in ascending order, none if the values look like class numbers.
    """
    values = np.flatnonzero(counts)
    if len(values) < 3 or values[-1] - values[0] < 32:
        return values[:0]
    share = counts[values] / counts.sum()
    middle, ends = (values[0] + values[-1]) / 2, (share[0], share[-1])
    between = values[1:-1][~np.isin(values[1:-1], list(listed))]
    rarer = sum(ends) >= 0.6 and min(ends) > share[1:-1].max()
    if rarer and len(between) and between[-1] > middle and (len(between) > 2 or values[-1] >= 250):
        return between
    rare = values[(share < 0.01) & ~np.isin(values, list(listed))]
    return rare if share[share >= 0.05].sum() >= 0.8 and len(rare) > 32 and rare[-1] > middle else values[:0]


@dataclass(frozen=True)
class LabelMap:
    """Table from raw mask values to labels.

    Args:
        values: raw value(s) of each class, in class order. Colour-coded masks use 0xRRGGBB.
        ignore: raw values that mean void.
        unlisted: treatment of any other value: "error" refuses it, "ignore" reads it as void.
        color_coded: True for RGB masks whose colours are the classes.

    Raises:
        InputError: a raw value belongs to two classes, or is out of range.
    """

    values: tuple[tuple[int, ...], ...]
    ignore: tuple[int, ...] = (IGNORE_INDEX,)
    unlisted: str = "error"
    color_coded: bool = False

    def __post_init__(self) -> None:
        limit = 0xFFFFFF if self.color_coded else 0xFFFF
        seen: dict[int, str] = {}
        listed = [(raw, f"class {k}") for k, raws in enumerate(self.values) for raw in raws]
        for raw, owner in [*listed, *((raw, "ignore") for raw in self.ignore)]:
            if not 0 <= raw <= limit:
                raise InputError(f"raw label value {raw} of {owner} is outside 0..{limit}")
            if seen.get(raw, owner) != owner:
                raise InputError(f"raw label value {self.show(raw)} means both {seen[raw]} and {owner}; keep one")
            seen[raw] = owner

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        """Sorted raw values and their labels."""
        pairs = {raw: IGNORE_INDEX for raw in self.ignore}
        pairs |= {raw: k for k, raws in enumerate(self.values) for raw in raws}
        keys = np.array(sorted(pairs), np.int64)
        return keys, np.array([pairs[key] for key in keys.tolist()], np.int16)

    @cached_property
    def _lookup(self) -> np.ndarray:
        keys, labels = self._table
        lookup = np.full(0x10000, _UNKNOWN if self.unlisted == "error" else IGNORE_INDEX, np.int16)
        lookup[keys] = labels
        return lookup

    def apply(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map raw values to labels.

        Args:
            raw: uint8 or uint16 `[H, W]`, or uint8 `[H, W, 3]` when colour-coded.

        Returns:
            Labels uint8 `[H, W]`, 255 where void or unknown, and the unknown raw values in ascending order.
        """
        if self.color_coded:
            wide = raw.astype(np.int64) @ np.array([0x10000, 0x100, 1])
            keys, table = self._table
            slot = np.minimum(np.searchsorted(keys, wide), len(keys) - 1)
            labels = np.where(keys[slot] == wide, table[slot], _UNKNOWN)
            if self.unlisted == "ignore":
                labels = np.where(labels == _UNKNOWN, IGNORE_INDEX, labels)
        else:
            wide = raw
            labels = self._lookup[raw]
        unknown = labels == _UNKNOWN
        unknown_values = np.unique(wide[unknown]) if unknown.any() else np.empty(0, np.int64)
        return labels.astype(np.uint8), unknown_values  # -1 becomes 255, which is void

    def translated(self, targets: Sequence[int], num_classes: int) -> LabelMap:
        """Return the map of the same raw values to labels of another space.

        Args:
            targets: new label of each class of this map, 255 for void. Classes may share a label.
            num_classes: K of the new space.
        """
        values: list[list[int]] = [[] for _ in range(num_classes)]
        ignore = list(self.ignore)
        for raws, target in zip(self.values, targets, strict=True):
            (ignore if target == IGNORE_INDEX else values[target]).extend(raws)
        return replace(self, values=tuple(map(tuple, values)), ignore=tuple(ignore))

    def show(self, raw: int) -> str:
        """Return a raw value as text: a number, or `(r, g, b)` if colour-coded."""
        return str((raw >> 16, raw >> 8 & 255, raw & 255)) if self.color_coded else str(raw)
