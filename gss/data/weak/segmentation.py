"""Masks in COCO annotation files: polygons and run lengths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gss.core.errors import InputError
from gss.core.json_value import JsonValue
from gss.data.weak.raster import check_pixels, decode_runs, fill_polygons, polygon_fits, unpack_counts

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Polygons:
    """A mask as the union of polygons.

    Args:
        corners: `[x, y, x, y, ...]` of each polygon, in pixels from the upper left corner of the image.
    """

    corners: list[list[float]]

    def area(self) -> float:
        """Return the sum of the areas of the polygons, in pixels."""
        total = 0.0
        for corners in self.corners:
            x, y = np.array(corners).reshape(-1, 2).T
            total += 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))
        return total

    def mask(self, size: Size) -> np.ndarray:
        """Return the mask, bool `[H, W]`."""
        return fill_polygons(self.corners, size)


@dataclass(frozen=True, eq=False)
class RunLengths:
    """A mask as lengths of runs, see `gss.data.weak.raster.decode_runs`.

    Args:
        size: (H, W) of the mask.
        counts: lengths, int64 `[n]`; they add up to H * W.
    """

    size: Size
    counts: np.ndarray

    def area(self) -> float:
        """Return the number of pixels of the mask."""
        return float(self.counts[1::2].sum())

    def mask(self, size: Size) -> np.ndarray:
        """Return the mask, bool `[H, W]`.

        Raises:
            InputError: the image has another size.
        """
        if size != self.size:
            raise InputError(f"run lengths are of size {list(self.size)} (H, W), the picture has {list(size)}")
        return decode_runs(self.counts, size)


def read_segmentation(value: JsonValue | None, size: Size | None) -> Polygons | RunLengths | None:
    """Read the `segmentation` of an annotation.

    Args:
        value: list of polygons, or `{"size": [H, W], "counts": ...}` with a list or the compressed text.
        size: (H, W) of the image, if the file states it.

    Returns:
        The mask; None if there is none (no key, null, an empty list, no polygon of three corners).

    Raises:
        InputError: damaged, or of another size; names file and annotation.
    """
    if value is None:
        return None
    if isinstance(value.value, dict):
        return _read_runs(value, size)
    polygons = []
    for item in value:
        corners = item.numbers()
        if len(corners) % 2:
            raise item.error(f"has {len(corners)} numbers; x and y of every corner make an even count")
        if size is not None and not polygon_fits(corners, size):
            raise item.error(f"lies far outside the picture of {size[1]}x{size[0]} pixels")
        check_pixels(item.where(), corners)
        if len(corners) >= 6:
            polygons.append(corners)
    return Polygons(polygons) if polygons else None


def _read_runs(value: JsonValue, size: Size | None) -> RunLengths:
    height, width = (int(length) for length in value["size"].numbers(2))
    if height < 1 or width < 1 or (size is not None and size != (height, width)):
        stated = "at least 1" if size is None else f"[{size[0]}, {size[1]}] as the picture has"
        raise value["size"].wrong(f"(H, W), {stated}")
    counts = value["counts"]
    if isinstance(counts.value, str):
        runs = unpack_counts(counts.value)
        if runs is None:
            raise counts.wrong("compressed run lengths")
    else:
        runs = np.array(counts.numbers(), np.float64).astype(np.int64)
    if (runs < 0).any() or int(runs.sum()) != height * width:
        raise counts.error(f"covers {int(runs.sum())} pixels in runs; the picture has {height * width}")
    return RunLengths((height, width), runs)
