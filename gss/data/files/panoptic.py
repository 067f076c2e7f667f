"""Panoptic masks in the COCO format: colour PNGs of segment ids, and a JSON file with the category of each segment."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gss.core.errors import InputError
from gss.core.files import read_json
from gss.data.files.samples import Sample
from gss.data.images import load_color_mask


@lru_cache(maxsize=4)
def read_segments(path: Path) -> dict[str, np.ndarray]:
    """Segments of every mask that a panoptic JSON file describes.

    Entries are reduced while the file is parsed; that of COCO's training set would take gigabytes otherwise.

    Returns:
        Mask file name to int32 `[2, N]`: ascending segment ids and their categories.

    Raises:
        InputError: missing or malformed file, or one without annotations.
    """
    segments: dict[str, np.ndarray] = {}

    def reduce(entry: dict[str, Any]) -> Any:
        if "segments_info" in entry:
            pairs = np.array(sorted(entry["segments_info"]), np.int32).reshape(-1, 2)
            segments[entry["file_name"]] = np.ascontiguousarray(pairs.T)
        return (entry["id"], entry["category_id"]) if "category_id" in entry and "id" in entry else None

    try:
        read_json(path, object_hook=reduce)
    except InputError:
        raise
    except (TypeError, KeyError, ValueError, OverflowError) as error:  # of `reduce`
        raise InputError(
            f"panoptic annotations {path} are malformed ({type(error).__name__}: {error}); each entry of annotations "
            "needs file_name and segments_info with whole numbers as id and category_id"
        ) from error
    if not segments:
        raise InputError(f"panoptic annotations {path} describe no mask: no entry has segments_info")
    return segments


def require_segments(samples: Iterable[Sample]) -> None:
    """Read the JSON files of panoptic samples before loader workers start, which then share the result.

    Raises:
        InputError: a file is missing or malformed.
    """
    for path in {sample.segments for sample in samples if sample.segments is not None}:
        read_segments(path)


def load_panoptic(mask: Path, segments: Path) -> np.ndarray:
    """Return the category of every pixel of a panoptic mask.

    Args:
        mask: PNG whose colour is the segment id R + 256 G + 256² B; id 0 (black) has no label.
        segments: JSON file with the categories of the segments.

    Returns:
        uint16 `[H, W]`, 0 where there is no label.

    Raises:
        InputError: unreadable files, a mask without an entry, or segment ids without one.
    """
    known = read_segments(segments).get(mask.name)
    if known is None:
        raise InputError(f"mask {mask} has no entry in {segments}")
    ids = load_color_mask(mask).astype(np.int32) @ np.array([1, 0x100, 0x10000], np.int32)
    keys, categories = np.concatenate([np.zeros((2, 1), np.int32), known], axis=1)
    slot = np.minimum(np.searchsorted(keys, ids), len(keys) - 1)
    unknown = np.unique(ids[keys[slot] != ids])
    if len(unknown):
        raise InputError(f"mask {mask} holds {len(unknown)} segment ids that {segments} lacks, such as {unknown[0]}")
    return categories[slot].astype(np.uint16)
