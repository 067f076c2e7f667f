"""Coverage and quality of weak labels or pseudo-masks (`gss weak report`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from gss.core import distributed
from gss.core.errors import InputError
from gss.core.sampling import evenly_spaced
from gss.data.datasets import SegmentationDataset
from gss.data.protocols import LabelledImages
from gss.evaluation.images import ImageShare, Unreadable
from gss.labels.space import IGNORE_INDEX
from gss.metrics.label_quality import LabelQuality
from gss.report.pictures import colorize, error_map, heatmap

_PICTURES = 6


@dataclass(frozen=True)
class MeasuredLabels:
    """Labels of a data set, measured.

    Attributes:
        result: result of `LabelQuality.compute`.
        pictures: captions with pictures of some images; empty on other processes than the main one.
        unreadable: images that are left out because a file of theirs cannot be read.
    """

    result: dict[str, Any]
    pictures: list[tuple[str, list[Image.Image]]]
    unreadable: list[Unreadable]


def measure(
    dataset: LabelledImages,
    truth: LabelledImages | None = None,
    *,
    pictures: int = _PICTURES,
    strict: bool = False,
    progress: bool = False,
) -> MeasuredLabels:
    """Measure the labels of a data set; processes share the images.

    Args:
        dataset: data set with the labels.
        truth: full masks of the same images, found by id.
        pictures: number of images to draw, evenly spaced.
        strict: True raises the error of an image that cannot be read, which is otherwise left out.
        progress: True shows a bar.

    Raises:
        InputError: other classes, images without full masks, or no image that can be read.
    """
    space = dataset.label_space
    positions: dict[str, int] = {}
    if truth is not None:
        if truth.label_space.names != space.names:
            names, true_names = (", ".join(names[:8]) for names in (space.names, truth.label_space.names))
            raise InputError(f"the classes differ: labels have {names}; their truth has {true_names}")
        positions = {id: index for index, id in enumerate(truth.ids)}
        absent = [id for id in dataset.ids if id not in positions]
        if absent:
            raise InputError(
                f"{len(absent)} images have no truth, first: {absent[0]!r}; give the --truth-split that has them"
            )
    quality = LabelQuality(space.num_classes)
    images = ImageShare(dataset, range(len(dataset)), strict=strict)
    drawn = set(evenly_spaced(len(dataset), pictures))
    rows = []
    for sample in tqdm(images, desc="reading labels", unit="img", disable=not progress):
        id, labels = dataset.ids[sample.index], sample.labels
        try:
            confidence = dataset.read_weak(sample.index)[1] if isinstance(dataset, SegmentationDataset) else None
            true = None if truth is None else truth.read(positions[id])[1]
            quality.update(labels, confidence, true)
        except (InputError, OSError) as error:
            images.leave_out(sample.index, error)
            continue
        if sample.index in drawn and distributed.is_main():
            row = [sample.image, colorize(labels, space.colors, void=(255, 255, 255))]
            if confidence is not None:
                row.append(heatmap(confidence, low=0, high=1))
            if true is not None:
                judged = np.where(labels == IGNORE_INDEX, IGNORE_INDEX, true).astype(np.uint8)
                row += [
                    colorize(true, space.colors),
                    error_map(np.where(labels == IGNORE_INDEX, 0, labels), judged, sample.image),
                ]
            rows.append((id, row))
    quality.sum_across()
    unreadable = images.unreadable()
    return MeasuredLabels(quality.compute(), rows, unreadable)
