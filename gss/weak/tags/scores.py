"""Scores of images by a tag classifier: the most probable class of each, and its probability."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from gss.core import distributed
from gss.core.errors import InputError
from gss.data.images import load_image
from gss.weak.manifest import Failure

# Sides are rounded to multiples of this, so that images of similar shapes share a batch; networks halve them 5 times.
_MULTIPLE = 32


@dataclass(frozen=True)
class Candidate:
    """Image with the prediction of the classifier.

    Attributes:
        image: absolute path.
        predicted: class with the highest logit.
        score: probability of that class by the sigmoid, 0..1.
        file: path of the copy, below the output folder; None if the image was not kept.
    """

    image: str
    predicted: int
    score: float
    file: str | None = None


@torch.inference_mode()
def score_images(
    logits_of: Callable[[Tensor], Tensor],
    num_classes: int,
    files: Sequence[Path],
    *,
    size: int = 320,
    batch_size: int = 16,
    device: torch.device | str = "cpu",
) -> tuple[list[Candidate], list[Failure]]:
    """Return the score of every image; processes share the images, and only a few are in memory at a time.

    Images are resized to a longer side of about `size`, both sides multiples of 32.

    Args:
        logits_of: function from images `[B, 3, H, W]` in 0..1 to logits `[B, K]`; in evaluation mode.
        num_classes: K.
        files: image files.
        size: longer side in pixels.
        batch_size: number of images of one shape per call.
        device: device of the classifier.

    Returns:
        The images in the order of `files`, and failures of those that could not be read; equal on all processes.

    Raises:
        InputError: logits of another shape, or NaN; names the image.
    """
    found: dict[int, Candidate] = {}
    failed: dict[int, Failure] = {}
    mine = list(distributed.shard(len(files)))
    with tqdm(total=len(mine), desc="scoring", unit="img", disable=None if distributed.is_main() else True) as bar:
        for rows in _batches(files, mine, size, batch_size, failed):
            pixels = torch.from_numpy(np.stack([pixels for _, pixels in rows])).to(device)
            logits = logits_of(pixels.permute(0, 3, 1, 2).float() / 255)
            if logits.shape != (len(rows), num_classes):
                raise InputError(f"logits are {list(logits.shape)}; they must be {[len(rows), num_classes]}")
            best, predicted = logits.double().max(1)
            probability = best.sigmoid().tolist()
            for (index, _), number, score in zip(rows, predicted.tolist(), probability, strict=True):
                if math.isnan(score):
                    raise InputError(f"image {files[index]}: a logit of the classifier is NaN; train it again")
                found[index] = Candidate(os.path.abspath(files[index]), number, score)
            bar.update(len(rows))
        bar.update(len(failed))
    everywhere = distributed.gather_objects((found, failed))
    found = {index: one for part, _ in everywhere for index, one in part.items()}
    failed = {index: one for _, part in everywhere for index, one in part.items()}
    return [found[index] for index in sorted(found)], [failed[index] for index in sorted(failed)]


def _batches(
    files: Sequence[Path], indices: Sequence[int], size: int, batch_size: int, failed: dict[int, Failure]
) -> Iterator[list[tuple[int, np.ndarray]]]:
    """Yield batches of images of one shape, uint8 `[H, W, 3]`, with their indices; add unreadable ones to `failed`."""
    waiting: dict[tuple[int, int], list[tuple[int, np.ndarray]]] = {}
    for index in indices:
        try:
            image = load_image(files[index])
        except (InputError, OSError) as error:
            failed[index] = Failure(os.path.abspath(files[index]), " ".join(str(error).split()))
            continue
        scale = size / max(image.size)
        width, height = (max(1, round(side * scale / _MULTIPLE)) * _MULTIPLE for side in image.size)
        batch = waiting.setdefault((height, width), [])
        batch.append((index, np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))))
        if len(batch) == batch_size:
            yield waiting.pop((height, width))
    yield from waiting.values()
