"""Out-of-distribution images out of the tagged images themselves: windows of the background beside the object.

What a tag classifier mistakes for an object is the context that its class always comes with: grass around sheep, rails
below trains. That context is in every tagged image, next to the object. A window of it, without the object, is an image
that holds none of the classes and that the classifier is prone to call one. So windows must not touch what the class
activation map takes for the object, and of the others those are preferred where the map is highest: the context that
is being confused, not the far sky that teaches nothing.

Windows are cut at the scale of the image. Enlarged ones would be blurred, and pasting something over the object leaves
seams; a classifier learns either sign of a false image at once, and nothing about context.

The risk: a map that lights up on the head alone lets a window hold the body, and the classifier is told that bodies are
no sheep. `margin` keeps windows away from what was seen, a low `threshold` asks for a dark map, and windows carry their
highest activation, by which `gss.weak.ood_loss.absent_loss` can weigh them. Maps of an untrained classifier say
nothing: train on tags alone first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["BackgroundCrops", "background_crops"]

# Windows start at multiples of this share of their side.
_STRIDES = 8


@dataclass(frozen=True)
class BackgroundCrops:
    """Windows of a batch that show no tagged class, N of them in the order of their images.

    Attributes:
        crops: `[N, 3, S, S]`, pixels of the images as they are.
        boxes: (y0, x0, y1, x1) in pixels, ends excluded, int64 `[N, 4]`.
        images: position of the image of each in the batch, int64 `[N]`.
        activation: highest value of the map in the window and its margin `[N]`, below the threshold.
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
    threshold: float = 0.2,
    margin: float = 0.1,
    per_image: int = 1,
    preference: float = 4.0,
) -> BackgroundCrops:
    """Chooses windows beside the objects of tagged images.

    A window is drawn among those whose highest activation of a tagged class, margin included, is below `threshold`,
    with a probability proportional to exp(preference * mean activation / threshold). The windows of one image overlap
    by at most half. Images without a window left give none, so N is at most B * per_image.

    Args:
        images: `[B, 3, H, W]`.
        maps: class activation of each image in 0..1, `[B, K, h, w]`; of tagged classes it should reach 1 somewhere.
        tags: classes of the images, bool (or 0 and 1) `[B, K]`, all that they hold: of a class that is not tagged the
            map is not looked at. An image without tags gives windows from everywhere.
        generators: one for each image, on the CPU: a choice depends on no other image of the batch.
        size: side S of the windows in pixels.
        threshold: activation from which on a pixel may belong to the object, above 0 and at most 1.
        margin: band around a window that must be below the threshold too, as a share of S.
        per_image: most windows of an image.
        preference: 0 draws evenly; the default prefers a window at the threshold e^4 = 55 times to one at 0.

    Returns:
        Windows, without gradient, on the device of the images.

    Raises:
        ValueError: shapes that do not fit, a window larger than the images, maps outside 0..1, or a number out of
            range.
    """
    _check(images, maps, tags, generators, size)
    height, width = images.shape[2:]
    for name, value, allowed in (
        ("threshold", threshold, 0 < threshold <= 1),
        ("margin", margin, 0 <= margin <= 1),
        ("per_image", per_image, per_image >= 1),
        ("preference", preference, preference >= 0),
    ):
        if not allowed:
            raise ValueError(f"{name} is {value}; see what is allowed in background_crops")
    object_map = torch.where(tags.bool()[..., None, None], maps.float(), 0).amax(1, keepdim=True)
    object_map = F.interpolate(object_map, size=(height, width), mode="bilinear")
    stride, band = max(1, size // _STRIDES), round(margin * size)
    peak, mean = _window_peak(object_map, size, band, stride), F.avg_pool2d(object_map, size, stride)
    columns = peak.shape[-1]
    peak, mean = peak.flatten(1), mean.flatten(1)
    # The largest of log-probabilities with Gumbel noise is a draw; a uniform number of 0 would be no noise.
    noise = torch.stack([torch.rand(peak.shape[1], generator=generator) for generator in generators])
    noise = -(-noise.clamp(1e-12, 1 - 1e-7).log()).log()
    key = preference * mean / threshold + noise.to(mean)
    key = key.masked_fill(peak >= threshold, -torch.inf)
    place = torch.arange(peak.shape[1], device=peak.device)
    y, x = place // columns * stride, place % columns * stride
    best, chosen = [], []
    for _ in range(per_image):
        highest, index = key.max(1)
        best.append(highest)
        chosen.append(index)
        rows = (size - (y - y[index, None]).abs()).clamp(min=0)
        overlap = rows * (size - (x - x[index, None]).abs()).clamp(min=0)
        key = key.masked_fill(overlap > size * size // 2, -torch.inf)
    found = torch.stack(best, 1).isfinite()
    owners, turn = found.nonzero().unbind(1)
    windows = torch.stack(chosen, 1)[owners, turn]
    corners = torch.stack([y[windows], x[windows]], 1)
    boxes = torch.cat([corners, corners + size], 1)
    cut = [images[i, :, y0:y1, x0:x1] for i, (y0, x0, y1, x1) in zip(owners.tolist(), boxes.tolist(), strict=True)]
    crops = torch.stack(cut) if cut else images.new_zeros(0, 3, size, size)
    return BackgroundCrops(crops, boxes, owners, peak[owners, windows])


def _window_peak(values: Tensor, size: int, band: int, stride: int) -> Tensor:
    """Largest value of each window and the band around it, of `[B, 1, H, W]`; rows first, then columns."""
    rows = F.max_pool2d(values, (size + 2 * band, 1), (stride, 1), (band, 0))
    return F.max_pool2d(rows, (1, size + 2 * band), (1, stride), (0, band))


def _check(images: Tensor, maps: Tensor, tags: Tensor, generators: Sequence[torch.Generator], size: int) -> None:
    batch, height, width = len(images), *images.shape[-2:]
    if (
        images.ndim != 4
        or maps.ndim != 4
        or len(maps) != batch
        or tags.shape != maps.shape[:2]
        or len(generators) != batch
    ):
        raise ValueError(
            f"images, maps, tags and generators are {list(images.shape)}, {list(maps.shape)}, {list(tags.shape)} and "
            f"{len(generators)}; they must be [B, 3, H, W], [B, K, h, w], [B, K] and B"
        )
    if not 1 <= size <= min(height, width):
        raise ValueError(f"size is {size}; a window of images of {height}x{width} has 1..{min(height, width)} pixels")
    lowest, highest = (float(value) for value in maps.aminmax())
    # Resizing may go past the range by rounding.
    if not (lowest >= -1e-3 and highest <= 1 + 1e-3):
        raise ValueError(f"maps lie in {lowest:.3g}..{highest:.3g}; scale each class of an image to 0..1")
