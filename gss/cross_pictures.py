"""Example pictures of `gss cross-domain`: image, truth and what each model makes of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from gss.cross_measuring import Pair
from gss.cross_protocol import Protocol
from gss.data.datasets import ReadableImages
from gss.pipeline import GSSPipeline
from gss.visualize import colorize, overlay

__all__ = ["draw_rows"]


def draw_rows(
    data: ReadableImages,
    indices: Sequence[int],
    models: Sequence[tuple[str, GSSPipeline, str, int | None, Pair]],
    protocol: Protocol,
) -> list[tuple[str, list[Image.Image]]]:
    """One row an image: the image, the truth, and each model's prediction in the classes of the test set.

    Args:
        data: Test set.
        indices: Its images.
        models: (name, pipeline, decode mode, short side, pair with the test set).
        protocol: How pipelines are run.
    """
    rows, colors = [], data.label_space.colors
    for index in indices:
        image, labels = data.read(index)
        drawn = [image, colorize(labels, colors)]
        for _, pipeline, mode, side, pair in models:
            probs = protocol.run(pipeline, image, side, [mode], [])[mode]
            best = pair.mapping.predict(probs).to("cpu").numpy().astype(np.uint8)
            drawn.append(overlay(image, best, colors))
        rows.append((str(data.ids[index]), drawn))
    return rows
