"""Contact sheet of the shifts of one image."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import numpy as np
from PIL import Image

from gss.data.protocols import ReadableImages
from gss.data.shifts.apply import GROUPS, SHIFTS, apply_shift, shift_generator
from gss.report.pictures import contact_sheet

_CELL = 240


def draw_shifts(
    dataset: ReadableImages, index: int, *, shifts: Sequence[str], severities: Sequence[int], seed: int = 0
) -> Image.Image:
    """Draw a contact sheet of one image: a row for each shift, a column for each severity, the image itself first.

    Args:
        dataset: data set.
        index: position of the image.
        shifts: names of shifts.
        severities: 1..5.
        seed: see `ShiftedImages`.
    """
    image, _ = dataset.read(index)
    rows = []
    for shift in shifts:
        draws = (shift_generator(seed, shift, dataset.ids[index]) for _ in severities)
        pairs = zip(severities, draws, strict=True)
        shifted = [apply_shift(np.asarray(image), shift, severity, rng) for severity, rng in pairs]
        rows.append([image, *map(Image.fromarray, shifted)])
    titles = ["image", *(f"severity {severity}" for severity in severities)]
    captions = [f"{shift}: {_about(shift)}" for shift in shifts]
    return contact_sheet(rows, titles, captions=captions, width=_CELL)


def list_shifts(shifts: Sequence[str]) -> str:
    """Return one line a shift: name, group and effect."""
    width = max(map(len, shifts))
    group_of = {name: group for group, names in GROUPS.items() for name in names}
    return "\n".join(f"{shift:<{width}}  {group_of[shift]:<11}  {_about(shift)}" for shift in shifts)


def _about(shift: str) -> str:
    """Return the first line of the shift's description, without the full stop."""
    return (inspect.getdoc(SHIFTS[shift]) or "").partition("\n")[0].rstrip(".")
