"""Class activation maps of tagged images, and the seeds they give: labels where a map is high."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from gss.core.errors import InputError
from gss.models.tags import TagClassifier

# Maps whose largest value is below this are not enlarged further; they stay close to 0.
_LEAST = 1e-5


@torch.no_grad()
def activation_maps(
    model: TagClassifier,
    images: Tensor,
    tags: Tensor,
    *,
    scales: Sequence[float] = (1.0, 1.5, 2.0),
    flip: bool = True,
) -> Tensor:
    """Return class activation maps (Zhou et al., CVPR 2016) summed over sizes and mirror images.

    A map holds the classifier's score of each cell where it is positive; maps of classes without a tag are 0. Each map
    is divided by its largest value. Sizes are read one after the other and summed on the grid of the largest, so that
    memory is that of the largest size alone.

    Args:
        model: classifier in eval mode.
        images: float `[B, 3, H, W]` in 0..1.
        tags: bool `[B, K]`, among the classes of the model.
        scales: relative sizes; sides are rounded to whole cells of the backbone.
        flip: True also reads the mirror image.

    Returns:
        float32 `[B, K, h, w]` in 0..1, on the grid of features of the largest size.

    Raises:
        InputError: no size, or one that is not above 0.
    """
    if not scales or min(scales) <= 0:
        raise InputError(f"scales={list(scales)} must be one or more numbers above 0")
    total: Tensor | None = None
    for scale in sorted(scales, reverse=True):
        # Sides are whole cells: the grid of a padded image would not lie on the image.
        size = tuple(max(round(side * scale / model.multiple), 1) * model.multiple for side in images.shape[-2:])
        same = size == tuple(images.shape[-2:])
        sized = images if same else F.interpolate(images, size=list(size), mode="bilinear", antialias=True)
        for mirrored in (False, True) if flip else (False,):
            features = model(sized.flip(-1) if mirrored else sized, logits=False, features=True).features
            found = model.class_maps(features).float().relu()
            found = found.flip(-1) if mirrored else found
            if total is None:
                total = found
            elif found.shape == total.shape:
                total += found
            else:
                total += F.interpolate(found, size=total.shape[-2:], mode="bilinear")
    assert total is not None
    total *= tags[..., None, None]
    return total / total.amax((-2, -1), keepdim=True).clamp_min(_LEAST)


def seed_probs(cam: Tensor, tags: Tensor, *, background: float) -> Tensor:
    """Return probabilities of the background and of the classes, from their maps.

    With m the largest map of a pixel, the background scores (1 - m)^a with the exponent a of Ahn and Kwak (CVPR 2018),
    chosen such that both are equal at m = `background`. The scores are then divided by their sum.

    Args:
        cam: `[B, K, H, W]` in 0..1.
        tags: bool `[B, K]`.
        background: threshold of the maps, above 0 and below 1.

    Returns:
        `[B, 1 + K, H, W]`, the background first; without tags the background has probability 1.

    Raises:
        InputError: `background` outside its range.
    """
    if not 0 < background < 1:
        raise InputError(f"background={background} must be above 0 and below 1")
    power = math.log(background) / math.log(1 - background)
    cam = cam * tags[..., None, None]
    scores = torch.cat([(1 - cam.amax(1, keepdim=True).clamp(0, 1)) ** power, cam], 1)
    return scores / scores.sum(1, keepdim=True).clamp_min(_LEAST)


def seeds(cam: Tensor, tags: Tensor, *, background: float) -> tuple[Tensor, Tensor]:
    """Return the most probable of background and classes at each pixel.

    Args:
        cam: `[B, K, H, W]` in 0..1.
        tags: bool `[B, K]`.
        background: threshold; pixels whose largest map is below it are background.

    Returns:
        Labels int64 `[B, H, W]`, 0 for the background and k + 1 for class k, and their probability.
    """
    sure, label = seed_probs(cam, tags, background=background).max(1)
    return label, sure
