"""Batches of images in a pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

from gss.core.errors import InputError
from gss.jobs.predict.records import DISAGREEMENT, Failure, Settings
from gss.pipeline.outputs import SegmentationOutput
from gss.pipeline.pipeline import GSSPipeline

T = TypeVar("T")

BATCH_PIXELS = 4 * 1024 * 1024
"""Pixels of the images in one call, so that only a few large ones are ever in memory."""


def segment(
    pipeline: GSSPipeline,
    images: dict[int, Image.Image],
    settings: Settings,
    batch_size: int,
    *,
    write: Callable[[int, SegmentationOutput, int, float], T],
    refuse: Callable[[int, InputError], T],
) -> Iterator[tuple[int, T]]:
    """Yield the number and record of each image of a batch; if one is refused, the others are segmented alone.

    Args:
        pipeline: the pipeline.
        images: images by number.
        settings: decode mode, views and scores.
        batch_size: number of images of one size, or windows of one image, at once.
        write: function from number, output, row in it and seconds to the record of an image.
        refuse: function from number and error to the record of an image that is refused.
    """
    if not images:
        return
    started = time.perf_counter()
    try:
        output = pipeline(list(images.values()), batch_size=batch_size, **settings.call)
        if settings.samples:
            _add_disagreement(pipeline, list(images.values()), output, settings)
    except InputError as error:
        if len(images) > 1:
            for index, image in images.items():
                yield from segment(pipeline, {index: image}, settings, batch_size, write=write, refuse=refuse)
            return
        (index,) = images
        yield index, refuse(index, error)
        return
    seconds = (time.perf_counter() - started) / len(images)
    for row, index in enumerate(images):
        yield index, write(index, output, row, seconds)


def _add_disagreement(
    pipeline: GSSPipeline, images: list[Image.Image], output: SegmentationOutput, settings: Settings
) -> None:
    """Add the map of where drawn masks differ to the scores of an output; the same for an image in any batch."""
    generators = [torch.Generator().manual_seed(0) for _ in images]
    size = settings.size if isinstance(settings.size, tuple) else None
    drawn = pipeline.sample(images, n=settings.samples, generator=generators, size=size)
    maps: list[Any] = list(output.score_maps or [{} for _ in images])
    both = zip(maps, drawn.agreement, strict=True)
    output.score_maps = [{**found, DISAGREEMENT: 1 - np.asarray(agreement)} for found, agreement in both]


def batches(
    images: Iterable[tuple[int, Image.Image | Failure]], batch_size: int
) -> Iterator[dict[int, Image.Image | Failure]]:
    """Yield few images at a time, by number."""
    batch: dict[int, Image.Image | Failure] = {}
    pixels = 0
    for index, image in images:
        size = image.width * image.height if isinstance(image, Image.Image) else 0
        if batch and (len(batch) == batch_size or pixels + size > BATCH_PIXELS):
            yield batch
            batch, pixels = {}, 0
        batch[index] = image
        pixels += size
    if batch:
        yield batch
