"""Out-of-distribution images out of the tagged images themselves: windows of the background beside the object.

What a tag classifier mistakes for an object is the context that its class always comes with: grass around sheep, rails
below trains. That context is in every tagged image. A window of it without the object is an image that holds none of
the classes, and the classifier is prone to call it one: activation maps are relative to the strongest place of their
image, so a place that is dark beside the object can still be the class when it is seen alone.

Windows are taken where the map is darkest and drawn evenly among these. Choosing the hardest of them would be choosing
the object: the brighter the map or the surer the classifier, the more often it is right. `gss.weak.tags.losses.harden`
makes windows harder without that.

Windows are cut at the scale of the image. Enlarged ones would be blurred, and pasting something over the object leaves
seams; a classifier learns either sign of a false image at once, and nothing about context.

The risk: a map that lights up on the head alone lets a window hold the body, and the classifier is told that bodies are
no sheep. It grows with the size of windows and of objects: small windows, a low threshold, a low weight of the loss.
Maps of an untrained classifier say nothing: train on tags alone first.
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
    """Windows of a batch that show no tagged class, N of them in the order of their images.

    Attributes:
        crops: `[N, 3, S, S]`, pixels of the images as they are.
        boxes: (y0, x0, y1, x1) in pixels, ends excluded, int64 `[N, 4]`.
        images: position of the image of each in the batch, int64 `[N]`.
        activation: mean of the map in the window `[N]`, below the threshold.
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
    """Chooses windows beside the objects of tagged images.

    Each is drawn evenly among those windows of the image whose mean activation of a tagged class is both below
    `threshold` and among the lowest `share` of that image. The windows of one image overlap by at most half. Images
    without a window left give none, so N is at most B * per_image.

    Args:
        images: `[B, 3, H, W]`.
        maps: class activation of each image in 0..1, `[B, K, h, w]`; of tagged classes it should reach 1 somewhere.
        tags: classes of the images, bool (or 0 and 1) `[B, K]`, all that they hold: of a class that is not tagged the
            map is not looked at. An image without tags gives windows from everywhere.
        generators: one for each image, on the CPU: a choice depends on no other image of the batch.
        size: side S of the windows in pixels.
        threshold: above 0 and at most 1.
        share: of the image's windows, above 0 and at most 1; all that are as dark as the last of these count too.
        per_image: most windows of an image.

    Returns:
        Windows, without gradient, on the device of the images.

    Raises:
        ValueError: shapes that do not fit, a window larger than the images, maps outside 0..1, or a number out of
            range.
    """
    _check(images, maps, tags, generators, size)
    for name, value in (("threshold", threshold), ("share", share)):
        if not 0 < value <= 1:
            raise InputError(f"{name} is {value}; it must be above 0 and at most 1")
    if per_image < 1:
        raise InputError(f"per_image is {per_image}; it must be at least 1")
    height, width = images.shape[2:]
    object_map = torch.where(tags.bool()[..., None, None], maps.float(), 0).amax(1, keepdim=True)
    object_map = F.interpolate(object_map, size=(height, width), mode="bilinear")
    stride = max(1, size // _STRIDES)
    mean = F.avg_pool2d(object_map, size, stride)
    columns, mean = mean.shape[-1], mean.flatten(1)
    dark = mean <= mean.kthvalue(math.ceil(share * mean.shape[1]), dim=1, keepdim=True).values
    noise = torch.stack([torch.rand(mean.shape[1], generator=generator) for generator in generators]).to(mean)
    key = noise.masked_fill(~dark | (mean >= threshold), -1)
    place = torch.arange(mean.shape[1], device=mean.device)
    y, x = place // columns * stride, place % columns * stride
    best, chosen = [], []
    for _ in range(per_image):
        highest, index = key.max(1)
        best.append(highest)
        chosen.append(index)
        rows = (size - (y - y[index, None]).abs()).clamp(min=0)
        overlap = rows * (size - (x - x[index, None]).abs()).clamp(min=0)
        key = key.masked_fill(overlap > size * size // 2, -1)
    owners, turn = (torch.stack(best, 1) >= 0).nonzero().unbind(1)
    windows = torch.stack(chosen, 1)[owners, turn]
    corners = torch.stack([y[windows], x[windows]], 1)
    boxes = torch.cat([corners, corners + size], 1)
    cut = [images[i, :, y0:y1, x0:x1] for i, (y0, x0, y1, x1) in zip(owners.tolist(), boxes.tolist(), strict=True)]
    crops = torch.stack(cut) if cut else images.new_zeros(0, 3, size, size)
    return BackgroundCrops(crops, boxes, owners, mean[owners, windows])


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
    # Resizing may go past the range by rounding.
    if not (lowest >= -1e-3 and highest <= 1 + 1e-3):
        raise InputError(f"maps lie in {lowest:.3g}..{highest:.3g}; scale each class of an image to 0..1")
