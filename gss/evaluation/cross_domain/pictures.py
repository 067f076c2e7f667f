"""Example images of the test sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from gss.data.protocols import ReadableImages
from gss.evaluation.cross_domain.pair import Pair
from gss.evaluation.cross_domain.protocol import Protocol
from gss.pipeline.pipeline import GSSPipeline
from gss.report.pictures import colorize, overlay


@dataclass(frozen=True)
class Column:
    """One model in the pictures of a test set.

    Args:
        pipeline: first seed of the model.
        mode: decode mode.
        side: short side in pixels; `None` for the size of the protocol.
        pair: relation of the classes to those of the test set.
    """

    pipeline: GSSPipeline
    mode: str
    side: int | None
    pair: Pair


def draw_rows(
    images: ReadableImages, indices: Sequence[int], columns: Sequence[Column], protocol: Protocol
) -> list[tuple[str, list[Image.Image]]]:
    """Draw images, their truth, and the predictions of the models in the classes of the test set.

    Args:
        images: test set.
        indices: images of the test set to draw.
        columns: models.
        protocol: arguments of the runs.

    Returns:
        (id, pictures) of each image.
    """
    rows, colors = [], images.label_space.colors
    for index in indices:
        image, labels = images.read(index)
        drawn = [image, colorize(labels, colors)]
        for column in columns:
            probabilities = protocol.run(column.pipeline, image, column.side, [column.mode], [])[column.mode]
            best = column.pair.mapping.predict(probabilities).to("cpu").numpy().astype(np.uint8)
            drawn.append(overlay(image, best, colors, clear=images.label_space.background))
        rows.append((str(images.ids[index]), drawn))
    return rows
