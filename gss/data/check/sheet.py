"""Contact sheet of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from gss.core.errors import InputError
from gss.data.check.report import DataReport
from gss.data.check.split import SplitReport
from gss.data.datasets import load_raw, resize_pair
from gss.data.images import load_image
from gss.data.open import open_split
from gss.data.specs.spec import DataSpec
from gss.report.pictures import colorize, contact_sheet, legend, overlay
from gss.report.tables import share_text

_SAMPLES = 8
_THUMBNAIL = 240


def draw_sheets(report: DataReport) -> Image.Image:
    """Draw the contact sheet of every domain, one below the other.

    Raises:
        InputError: no sample of a domain could be read.
    """
    pages = [_draw_domain(part.domain.spec, part.splits) for part in report.domains if part.splits]
    sheet = Image.new("RGB", (max(page.width for page in pages), sum(page.height for page in pages)), "white")
    top = 0
    for page in pages:
        sheet.paste(page, (0, top))
        top += page.height
    return sheet


def _draw_domain(spec: DataSpec, reports: Sequence[SplitReport]) -> Image.Image:
    """Draw image, coloured mask and overlay of a few samples, with a legend below.

    The samples are cut into as many stretches as there are rows, because neighbours are often near-duplicates; of each
    stretch the sample with most classes that are not yet shown is drawn.
    """
    candidates = [(report, index, classes) for report in reports for index, classes in report.classes]
    if not candidates:
        raise InputError(f"data set {spec.name!r} has no readable sample to draw")
    present = np.stack([classes for _, _, classes in candidates])
    shown = np.zeros(spec.label_space.num_classes, bool)
    chosen: list[int] = []
    for stretch in np.array_split(np.arange(len(candidates)), min(_SAMPLES, len(candidates))):
        gain = (present[stretch] & ~shown).sum(axis=1) * 1000 + present[stretch].sum(axis=1)
        chosen.append(int(stretch[gain.argmax()]))
        shown |= present[chosen[-1]]
    colors = spec.label_space.colors
    rows, captions = [], []
    for number in chosen:
        report, index, _ = candidates[number]
        image, labels, name = _thumbnail(spec, report.split, index)
        rows.append(
            [image, colorize(labels, colors), overlay(image, labels, colors, clear=spec.label_space.background)]
        )
        captions.append(f"{report.split}: {name}")
    sheet = contact_sheet(rows, ["image", "mask (void black)", "overlay"], captions=captions, width=_THUMBNAIL)
    pixels = np.sum([report.pixels for report in reports], axis=0)
    share = pixels / max(int(pixels.sum()), 1)
    texts = [f"{name} {share_text(float(part))}" for name, part in zip(spec.label_space.names, share, strict=True)]
    key = legend(texts, colors, width=sheet.width)
    page = Image.new("RGB", (sheet.width, sheet.height + key.height), "white")
    page.paste(sheet, (0, 0))
    page.paste(key, (0, sheet.height))
    return page


def _thumbnail(spec: DataSpec, split: str, index: int) -> tuple[Image.Image, np.ndarray, str]:
    """Return image, labels and id of a sample at the width of the cells; unknown labels are drawn as void."""
    if spec.generator is not None:
        dataset = open_split(spec, split)
        (image, labels), name = dataset.read(index), dataset.ids[index]
    else:
        samples = spec.samples(split)
        sample = samples[index]
        image, name = load_image(sample.image), sample.id
        weak = spec.weak_files(split, samples)
        if weak is not None:
            labels = weak.read(index, (image.height, image.width)).rasterize().labels
        else:
            labels = spec.label_map.apply(load_raw(spec, sample))[0]
    height = max(round(image.height * _THUMBNAIL / image.width), 1)
    return *resize_pair(image, labels, (min(height, 4 * _THUMBNAIL), _THUMBNAIL)), name
