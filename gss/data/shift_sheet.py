"""Contact sheet of the shifts of one image."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from gss.core.errors import InputError
from gss.core.files import atomic_path
from gss.data.open import open_split
from gss.data.protocols import ReadableImages
from gss.data.shifts.apply import GROUPS, SHIFTS, apply_shift, choose_severities, choose_shifts, shift_generator
from gss.data.specs.load import load_spec
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


def main(args: argparse.Namespace) -> int:
    """Handle `gss data shifts`: print what there is, and draw it.

    Args:
        args: `spec`, `root`, `split`, `image` (id, or None for the middle of the split), `shifts` and `severities`
            (lists), `seed`, `sheet`.

    Raises:
        ValueError: bad data set, image, shift, severity or file name.
    """
    if Path(args.sheet).suffix.lower() not in (".png", ".jpg"):
        raise InputError(f"sheet is {args.sheet!r}; its name must end in .png or .jpg")
    shifts, severities = choose_shifts(args.shifts), choose_severities(args.severities)
    spec = load_spec(args.spec, args.root)
    dataset = open_split(spec, args.split)
    if args.image is not None and args.image not in dataset.ids:
        raise InputError(f"no image {args.image!r} in {spec.name} {args.split}; its ids are like {dataset.ids[0]!r}")
    index = len(dataset) // 2 if args.image is None else dataset.ids.index(args.image)
    sheet = draw_shifts(dataset, index, shifts=shifts, severities=severities, seed=args.seed)
    with atomic_path(Path(args.sheet)) as temporary:
        sheet.save(temporary)
    width = max(map(len, shifts))
    group_of = {name: group for group, names in GROUPS.items() for name in names}
    for shift in shifts:
        print(f"{shift:<{width}}  {group_of[shift]:<11}  {_about(shift)}")
    print(f"contact sheet of {dataset.ids[index]}: {args.sheet}")
    return 0


def _about(shift: str) -> str:
    """Return the first line of the shift's description, without the full stop."""
    return (inspect.getdoc(SHIFTS[shift]) or "").partition("\n")[0].rstrip(".")
