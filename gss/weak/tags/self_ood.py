"""Out-of-distribution images cut from the tagged images themselves: windows of the background beside the object.

A tag classifier mistakes the usual context of a class for the object: grass around sheep, rails below trains. Every
tagged image shows that context. A window of it without the object is an image without any class, and the classifier
tends to call it one: maps are relative to the largest value of their image, so a place with a low value beside the
object can still be the class when it is seen alone.

Windows are drawn evenly among those with the lowest maps. The hardest windows would be those of the object: the higher
the map or the surer the classifier, the more often it is right. `gss.weak.tags.losses.harden` makes windows harder in
another way.

Windows keep the scale of the image. Enlarged ones would be blurred, and something pasted over the object leaves seams;
a classifier learns either sign of a false image quickly, and nothing about context.

The risk: a map that covers the head alone lets a window show the body, and the classifier learns that bodies are not
sheep. The risk grows with the size of windows and objects, so use small windows, a low threshold and a low weight of
the loss. Maps of an untrained classifier mean nothing: train on tags alone first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gss.core.errors import InputError

# Windows start at multiples of this share of their side.
_STRIDES = 8


@dataclass(frozen=True)
class BackgroundCrops:
    """N windows of a batch that show no tagged class, in the order of their images.

    Attributes:
        crops: `[N, 3, S, S]`, pixels of the images as they are.
        boxes: int64 `[N, 4]`, (y0, x0, y1, x1) in pixels, ends excluded.
        images: int64 `[N]`, position in the batch of the image of each window.
        activation: `[N]`, mean of the map in the window, below the threshold.
    """

    crops: Tensor
    boxes: Tensor
    images: Tensor
    activation: Tensor


@torch.no_grad()
def background_crops(
    images: Tensor,
    maps: Tensor,
    tags: Tensor,
    generators: Sequence[torch.Generator],
    *,
    size: int,
    threshold: float = 0.1,
    share: float = 0.1,
    per_image: int = 1,
) -> BackgroundCrops:
    """Choose windows beside the objects of tagged images.

    Each is drawn evenly among those windows of the image whose mean activation of tagged classes is both below
    `threshold` and among the lowest `share` of that image. The windows of one image overlap by at most half. An image
    may have fewer than `per_image` such windows, or none.

    Args:
        images: `[B, 3, H, W]`.
        maps: `[B, K, h, w]` in 0..1, class activation of each image; of tagged classes it should reach 1 somewhere.
        tags: bool (or 0 and 1) `[B, K]`, all classes of the images; maps of other classes are not used. An image
            without tags gives windows from everywhere.
        generators: one for each image, on the CPU, so that a choice does not depend on the batch.
        size: side S of the windows in pixels.
        threshold: largest mean activation of a window, above 0 and at most 1.
        share: share of the windows of an image, above 0 and at most 1; windows as low as the last of these count too.
        per_image: largest number of windows of an image.

    Returns:
        Windows, without gradient, on the device of the images.

    Raises:
        InputError: shapes that do not fit, a window larger than the images, maps outside 0..1, or a number out of
            range.
    """
    _check(images, maps, tags, generators, size)
    for name, value in (("threshold", threshold), ("share", share)):
        if not 0 < value <= 1:
            raise InputError(f"{name} is {value}; it must be above 0 and at most 1")
    if per_image < 1:
        raise InputError(f"per_image is {per_image}; it must be at least 1")
    # 1. Mean activation of all windows on a grid of a fraction of their side, [B, P].
    objects = torch.where(tags.bool()[..., None, None], maps.float(), 0).amax(1, keepdim=True)  # [B, 1, h, w]
    objects = F.interpolate(objects, size=images.shape[2:], mode="bilinear")
    stride = max(1, size // _STRIDES)
    mean = F.avg_pool2d(objects, size, stride)  # [B, 1, rows, columns]
    columns, mean = mean.shape[-1], mean.flatten(1)
    # 2. Windows that may be drawn have a random key, others -1.
    low = mean <= mean.kthvalue(math.ceil(share * mean.shape[1]), dim=1, keepdim=True).values
    keys = torch.stack([torch.rand(mean.shape[1], generator=generator) for generator in generators]).to(mean)
    keys = keys.masked_fill(~low | (mean >= threshold), -1)
    place = torch.arange(mean.shape[1], device=mean.device)
    corners = torch.stack([place // columns * stride, place % columns * stride], 1)  # [P, 2], y and x in pixels
    owners, windows = _draw(keys, corners, size, per_image)
    # 3. Cut them out.
    start = corners[windows]
    boxes = torch.cat([start, start + size], 1)
    cut = [images[i, :, y0:y1, x0:x1] for i, (y0, x0, y1, x1) in zip(owners.tolist(), boxes.tolist(), strict=True)]
    crops = torch.stack(cut) if cut else images.new_zeros(0, 3, size, size)
    return BackgroundCrops(crops, boxes, owners, mean[owners, windows])


def _draw(keys: Tensor, corners: Tensor, size: int, per_image: int) -> tuple[Tensor, Tensor]:
    """Return image and window of each choice `[N]`: largest keys `[B, P]` first, overlapping by at most half."""
    best, chosen = [], []
    for _ in range(per_image):
        highest, index = keys.max(1)
        best.append(highest)
        chosen.append(index)
        sides = (size - (corners - corners[index, None]).abs()).clamp(min=0)  # [B, P, 2], of the overlaps
        keys = keys.masked_fill(sides.prod(2) > size * size // 2, -1)
    owners, turn = (torch.stack(best, 1) >= 0).nonzero().unbind(1)
    return owners, torch.stack(chosen, 1)[owners, turn]


def _check(images: Tensor, maps: Tensor, tags: Tensor, generators: Sequence[torch.Generator], size: int) -> None:
    batch, height, width = len(images), *images.shape[-2:]
    if (
        images.ndim != 4
        or maps.ndim != 4
        or len(maps) != batch
        or tags.shape != maps.shape[:2]
        or len(generators) != batch
    ):
        raise InputError(
            f"images, maps, tags and generators are {list(images.shape)}, {list(maps.shape)}, {list(tags.shape)} and "
            f"{len(generators)}; they must be [B, 3, H, W], [B, K, h, w], [B, K] and B"
        )
    if not 1 <= size <= min(height, width):
        raise InputError(f"size is {size}; a window of images of {height}x{width} has 1..{min(height, width)} pixels")
    lowest, highest = (float(value) for value in maps.aminmax())
    # Resizing may leave the range by rounding.
    if not (lowest >= -1e-3 and highest <= 1 + 1e-3):
        raise InputError(f"maps lie in {lowest:.3g}..{highest:.3g}; scale each class of an image to 0..1")
