"""Pictures of the worst, median and best images of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from gss.data.protocols import ReadableImages
from gss.evaluation.segmentation.result import ImageMetrics
from gss.pipeline.pipeline import GSSPipeline
from gss.report.pictures import colorize, error_map, heatmap, overlay

PICTURE_TITLES = ("image", "truth", "prediction", "confidence", "errors")


def pick_images(images: Sequence[tuple[int, ImageMetrics]], count: int) -> list[tuple[str, int, float]]:
    """Choose the images with the worst, median and best mIoU.

    Args:
        images: index and metrics of each image.
        count: number of images to choose; each third about as large.

    Returns:
        (rank, index, mIoU), ascending. Ties go by index; images without a labelled pixel are left out.
    """
    ranked = sorted((metrics.miou, index) for index, metrics in images if metrics.miou is not None)
    count = min(count, len(ranked))
    worst, best = (count + 2) // 3, count // 3
    median = count - worst - best
    middle = max((len(ranked) - median) // 2, worst)
    parts = {
        "worst": ranked[:worst],
        "median": ranked[middle : middle + median],
        "best": ranked[len(ranked) - best :],
    }
    return [(rank, index, miou) for rank, part in parts.items() for miou, index in part]


def draw_images(
    pipeline: GSSPipeline,
    dataset: ReadableImages,
    images: Sequence[tuple[int, ImageMetrics]],
    count: int,
    *,
    mode: str,
    options: dict[str, Any],
) -> list[tuple[str, list[Image.Image]]]:
    """Draw the worst, median and best images.

    Args:
        pipeline: the pipeline.
        dataset: images and labels.
        images: index and metrics of each measured image.
        count: number of images to draw.
        mode: decode mode.
        options: further arguments of the pipeline.

    Returns:
        (caption, pictures with the titles `PICTURE_TITLES`) of each image.
    """
    rows = []
    for rank, index, miou in pick_images(images, count):
        caption = f"{rank} · {dataset.ids[index]} · mIoU {miou:.1%}"
        rows.append((caption, _draw(pipeline, dataset, index, mode=mode, options=options)))
    return rows


def _draw(
    pipeline: GSSPipeline, dataset: ReadableImages, index: int, *, mode: str, options: dict[str, Any]
) -> list[Image.Image]:
    image, labels = dataset.read(index)
    colors = dataset.label_space.colors
    output = pipeline(image, decode=mode, **options)
    prediction = np.asarray(output.masks[0])
    return [
        image,
        colorize(labels, colors),
        overlay(image, prediction, colors, clear=dataset.label_space.background),
        heatmap(np.asarray(output.confidence[0]), low=0.0, high=1.0),
        error_map(prediction, labels, image),
    ]
