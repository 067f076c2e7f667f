"""The quickstart's drawn masks: hypotheses of an image, a mask from three strokes, masks without an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

from gss.core.records import Record
from gss.core.sampling import evenly_spaced
from gss.data.protocols import LabelledImages
from gss.labels.space import IGNORE_INDEX
from gss.metrics import MaskDistances
from gss.metrics.layouts.neighbours import nearest_figures
from gss.pipeline.pipeline import GSSPipeline
from gss.report.page import Report
from gss.report.pictures import colorize

HYPOTHESES, STROKES, IMAGINED = 4, 3, 6
TRAINING_MASKS = 200
"""Largest number of training masks that imagined ones are compared with."""

_EIGHT = np.ones((3, 3), bool)
_NEUTRAL = (150, 150, 150)  # palettes have white, black and saturated colors
_Pictures = list[tuple[Image.Image, str]]


@dataclass(frozen=True)
class DrawnMasks(Record):
    """What the quickstart draws from the joint prior; shares are 0..1, None where there is nothing to share.

    Attributes:
        figures: what `gss train joint` measured, see `gss.training.joint.measure.measure`.
        agreed: share of the pixels of one image that all hypotheses agree on.
        given: share of the pixels of another image that three strokes give.
        right: share of its other pixels that are right, by what they are found from: `image`, `strokes`, or `both`.
        differing: share of the pixels of each imagined mask that differ from the nearest training mask.
        authentic: share of the imagined masks that are farther from their nearest training mask than this is from its
            own.
    """

    figures: dict[str, float]
    agreed: float
    given: float
    right: dict[str, float | None]
    differing: tuple[float, ...]
    authentic: float | None


@dataclass(frozen=True)
class DrawnPictures:
    """Pictures with captions.

    Attributes:
        hypotheses: an image, its hypotheses, and what they agree on.
        completion: an image, strokes, completions, truth.
        imagined: imagined masks, each with its nearest training mask below.
    """

    hypotheses: _Pictures
    completion: _Pictures
    imagined: _Pictures


def draw_masks(
    pipeline: GSSPipeline, val: LabelledImages, train: LabelledImages, figures: Mapping[str, float], *, seed: int
) -> tuple[DrawnMasks, DrawnPictures]:
    """Draw all masks that the report shows.

    Args:
        pipeline: pipeline with a joint prior.
        val: images that no training has seen.
        train: training images.
        figures: see `DrawnMasks`.
        seed: seed of the draws.
    """
    generators = [torch.Generator().manual_seed(seed + number) for number in range(3)]
    agreed, hypotheses = _hypotheses(pipeline, val, generators[0])
    given, right, completion = _completion(pipeline, val, generators[1])
    differing, authentic, imagined = _imagined(pipeline, train, generators[2])
    drawn = DrawnMasks(dict(figures), agreed, given, right, differing, authentic)
    return drawn, DrawnPictures(hypotheses, completion, imagined)


def add_drawn(report: Report, pipeline: GSSPipeline, drawn: DrawnMasks, pictures: DrawnPictures) -> None:
    """Add the section about drawn masks."""
    figures = drawn.figures
    report.section(
        "Drawn masks",
        "The joint prior predicts the cells of a mask that are not known from those that are, with an image or without "
        "one. Bits a pixel say how well it knows masks: the fewer, the better.",
    )
    report.tiles(
        [
            (
                "With the image",
                f"{figures['bits']:.3f}",
                f"bits a pixel at most; independent cells {figures['cells']:.3f}",
            ),
            ("Without", f"{figures['mask_bits']:.3f}", f"bits a pixel at most; by frequency {figures['unigram']:.3f}"),
            (
                "Cells given",
                f"{figures['given_miou']:.1%}",
                f"mIoU of the others when some are given; {figures['plain_miou']:.1%} when none is",
            ),
        ]
    )
    report.legend(list(pipeline.id2label.values()), pipeline.colors.tolist())
    report.paragraph(
        f"{HYPOTHESES} masks drawn for one image. They agree on {drawn.agreed:.0%} of its pixels; the others are grey "
        "in the last picture, and are where to look first (gss sample)."
    )
    report.pictures(pictures.hypotheses, columns=3)
    report.paragraph(
        f"{STROKES} strokes of the true mask of another image are given, {drawn.given:.1%} of its pixels, and the rest "
        f"is completed (gss complete). Of the other pixels are right: {_shares(drawn.right)}."
    )
    report.pictures(pictures.completion, columns=3)
    report.paragraph(
        f"{IMAGINED} masks drawn without an image (gss generate), each with its nearest training mask below."
    )
    report.pictures(pictures.imagined, columns=3)


def _shares(right: Mapping[str, float | None]) -> str:
    names = {"image": "from the image alone", "strokes": "from the strokes alone", "both": "from both"}
    return ", ".join(f"{share:.1%} {names[name]}" for name, share in right.items() if share is not None) or "none"


def _hypotheses(pipeline: GSSPipeline, val: LabelledImages, generator: torch.Generator) -> tuple[float, _Pictures]:
    """Draw masks of the first image; return the share that all agree on."""
    image, _ = val.read(0)
    output = pipeline.sample([image], n=HYPOTHESES, generator=generator)
    masks = np.asarray(output.masks[0])
    agreed = (masks == masks[0]).all(0)
    common = colorize(np.where(agreed, masks[0], IGNORE_INDEX), pipeline.colors, void=_NEUTRAL)
    pictures = [(image, "image")]
    pictures += [(colorize(mask, pipeline.colors), f"hypothesis {number}") for number, mask in enumerate(masks, 1)]
    return float(agreed.mean()), [*pictures, (common, "what all agree on")]


def _completion(
    pipeline: GSSPipeline, val: LabelledImages, generator: torch.Generator
) -> tuple[float, dict[str, float | None], _Pictures]:
    """Complete an image from three strokes, also without the image; return shares of given and of right pixels."""
    image, labels = val.read(len(val) // 2)
    given = draw_strokes(labels, 2 * pipeline.joint.token_stride)
    partial = np.where(given, labels, IGNORE_INDEX).astype(np.uint8)
    masks = {"image": np.asarray(pipeline(image).masks[0])}
    for name, images in (("strokes", None), ("both", [image])):
        masks[name] = np.asarray(pipeline.complete(images, [partial], generator=generator).masks[0])
    rest = ~given & (labels != IGNORE_INDEX)
    right = {name: float((mask == labels)[rest].mean()) if rest.any() else None for name, mask in masks.items()}
    shown = {
        "three strokes": partial,
        "from the image alone": masks["image"],
        "from the strokes alone": masks["strokes"],
        "from both": masks["both"],
        "truth": labels,
    }
    pictures = [(colorize(mask, pipeline.colors, void=_NEUTRAL), name) for name, mask in shown.items()]
    return float(given.mean()), right, [(image, "image"), *pictures]


def draw_strokes(labels: np.ndarray, width: int, count: int = STROKES) -> np.ndarray:
    """Draw strokes into the largest regions of a mask, one into each, of different classes as far as there are.

    A stroke is straight and goes through the pixel deepest inside its region, along the longer of the row and the
    column, to where it would leave the region.

    Args:
        labels: true labels `[H, W]`, 255 where void.
        width: width of a stroke in pixels.
        count: number of strokes; fewer if there are fewer regions.

    Returns:
        bool `[H, W]`, the pixels of the strokes.
    """
    # 1. Regions by size; the largest of every class come first.
    regions: list[tuple[int, int, np.ndarray]] = []
    for label in np.unique(labels[labels != IGNORE_INDEX]):
        parts, found = ndimage.label(labels == label, _EIGHT)
        sizes = np.bincount(parts.ravel(), minlength=found + 1)[1:]
        largest = np.argsort(-sizes, kind="stable")[:count]
        regions += [(place, -int(sizes[number]), parts == number + 1) for place, number in enumerate(largest)]
    regions.sort(key=lambda region: region[:2])

    # 2. A stroke in each.
    strokes = np.zeros(labels.shape, bool)
    for _, _, region in regions[:count]:
        depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
        row, column = (int(part) for part in np.unravel_index(int(depth.argmax()), depth.shape))
        lines = [np.zeros(labels.shape, bool) for _ in range(2)]
        lines[0][row], lines[1][:, column] = _run(region[row], column), _run(region[:, column], row)
        line = max(lines, key=lambda line: int(line.sum()))
        strokes |= ndimage.maximum_filter(line, size=width) & region
    return strokes


def _run(inside: np.ndarray, place: int) -> np.ndarray:
    """Return the connected run of True around a place, bool of the same length."""
    parts, _ = ndimage.label(inside)
    return parts == parts[place]


def _imagined(
    pipeline: GSSPipeline, train: LabelledImages, generator: torch.Generator
) -> tuple[tuple[float, ...], float | None, _Pictures]:
    """Draw masks without image; return their distances from the nearest training masks."""
    masks = [np.asarray(mask) for mask in pipeline.generate(IMAGINED, generator=generator).masks]
    chosen = evenly_spaced(len(train), TRAINING_MASKS)
    count = len(pipeline.id2label)
    drawn, known = MaskDistances(count), MaskDistances(count)
    for mask in masks:
        drawn.update(mask)
    read = getattr(train, "read_labels", None)
    for index in chosen:
        known.update(train.read(index)[1] if read is None else read(index))
    nearest = nearest_figures(drawn.compute(known), known.compute(known))
    pictures: _Pictures = []
    for mask, index, distance in zip(masks, nearest.index, nearest.distance, strict=True):
        other = colorize(train.read(chosen[index])[1], pipeline.colors)
        height, width = mask.shape
        both = Image.new("RGB", (width, 2 * height + 8), _NEUTRAL)
        both.paste(colorize(mask, pipeline.colors), (0, 0))
        both.paste(other.resize((width, height), Image.Resampling.NEAREST), (0, height + 8))
        pictures.append((both, f"imagined, and its nearest training mask: {distance:.0%} of the pixels differ"))
    return nearest.distance, nearest.authentic, pictures
