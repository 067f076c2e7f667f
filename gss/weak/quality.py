"""Coverage and quality of weak labels or pseudo-masks (`gss weak report`)."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from gss.core import distributed
from gss.core.errors import InputError
from gss.core.sampling import evenly_spaced
from gss.data.datasets import SegmentationDataset
from gss.data.protocols import LabelledImages
from gss.labels.space import IGNORE_INDEX
from gss.metrics.label_quality import LabelQuality
from gss.report.pictures import colorize, error_map, heatmap

_PICTURES = 6


def measure(
    dataset: LabelledImages, truth: LabelledImages | None = None, *, pictures: int = _PICTURES, progress: bool = False
) -> tuple[dict[str, Any], list[tuple[str, list[Image.Image]]]]:
    """Measure the labels of a data set; processes share the images.

    Args:
        dataset: data set with the labels.
        truth: full masks of the same images, found by id.
        pictures: number of images to draw, evenly spaced.
        progress: True shows a bar.

    Returns:
        Result of `LabelQuality.compute`, and captions with pictures, on the main process.

    Raises:
        InputError: other classes, or images without full masks.
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
    drawn = set(evenly_spaced(len(dataset), pictures))
    rows = []
    for index in tqdm(distributed.shard(len(dataset)), desc="reading labels", unit="img", disable=not progress):
        image, labels = dataset.read(index)
        confidence = dataset.read_weak(index)[1] if isinstance(dataset, SegmentationDataset) else None
        true = None if truth is None else truth.read(positions[dataset.ids[index]])[1]
        try:
            quality.update(labels, confidence, true)
        except InputError as error:
            raise InputError(f"image {dataset.ids[index]!r}: {error}") from error
        if index in drawn and distributed.is_main():
            row = [image, colorize(labels, space.colors, void=(255, 255, 255))]
            if confidence is not None:
                row.append(heatmap(confidence, low=0, high=1))
            if true is not None:
                judged = np.where(labels == IGNORE_INDEX, IGNORE_INDEX, true).astype(np.uint8)
                row += [
                    colorize(true, space.colors),
                    error_map(np.where(labels == IGNORE_INDEX, 0, labels), judged, image),
                ]
            rows.append((dataset.ids[index], row))
    quality.sum_across()
    return quality.compute(), rows
