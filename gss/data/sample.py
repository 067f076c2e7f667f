"""Samples for training: image, labels and their joint augmentation; filling of void."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

from gss.core.errors import InputError
from gss.data.transforms import JointTransform, to_float
from gss.data.weak.labels import WeakLabels
from gss.labels.space import IGNORE_INDEX


def make_item(
    image: Image.Image,
    labels: np.ndarray,
    *,
    id: str,
    index: int,
    epoch: int,
    transform: JointTransform | None,
    weak: WeakLabels | None = None,
    confidence: np.ndarray | None = None,
) -> dict[str, Any]:
    """Build a training sample from an image and its labels.

    Args:
        image: PIL RGB.
        labels: uint8 `[H, W]`, 255 where void.
        id: name of the sample.
        index: position in the data set.
        epoch: epoch of the augmentation.
        transform: augmentation; None keeps image and labels as they are.
        weak: weak labels that `labels` were drawn from; they are drawn again after the augmentation.
        confidence: confidence of the labels, float32 `[H, W]` in 0..1.

    Returns:
        `image` float32 `[3, H, W]` in [0, 1]; `labels` int64 `[H, W]`, 255 where void; `filled` int64 `[H, W]`, void
        replaced by the nearest valid label; `valid` bool `[H, W]`, False on padding; `id`; `index`. With weak labels
        also `tags` bool `[K]`, true for classes known to be in the image, and `exhaustive`, true if no other class is;
        with confidence also `confidence` float32 `[H, W]`, 0 where void.
    """
    if transform is None:
        pixels, window, valid = to_float(np.asarray(image)), None, np.ones(labels.shape, bool)
    else:
        pixels, labels, window = transform.augment(image, labels, epoch=epoch, index=index)
        valid = window.inside()
    item: dict[str, Any] = {"image": pixels, "id": id, "index": index}
    if weak is not None:
        target = (weak if window is None else weak.transform(window)).rasterize()
        labels, valid = target.labels, target.valid
        item |= {"tags": torch.from_numpy(target.tags), "exhaustive": torch.tensor(target.exhaustive)}
    if confidence is not None:
        confidence = confidence if window is None else window.labels(confidence)
        item["confidence"] = torch.from_numpy(np.where(labels == IGNORE_INDEX, np.float32(0), confidence))
    item["labels"] = torch.from_numpy(labels.astype(np.int64))
    item["filled"] = torch.from_numpy(fill_void(labels).astype(np.int64))
    item["valid"] = torch.from_numpy(valid)
    return item


Labels = TypeVar("Labels", np.ndarray, torch.Tensor)


def fill_void(labels: Labels) -> Labels:
    """Replace every void pixel by the label of the nearest valid pixel (exact Euclidean distance).

    Args:
        labels: integer array or tensor `[H, W]` or `[B, H, W]`, 255 where void. Never written to.

    Returns:
        New array or tensor of the same shape and type without 255. An image without a valid pixel becomes 0.

    Raises:
        InputError: another number of dimensions.
    """
    if isinstance(labels, torch.Tensor):
        filled = fill_void(labels.detach().cpu().numpy())
        return torch.from_numpy(filled).to(labels.device)
    if labels.ndim == 3:
        return np.stack([fill_void(image) for image in labels]) if len(labels) else labels.copy()
    if labels.ndim != 2:
        raise InputError(f"labels must be [H, W] or [B, H, W], got shape {tuple(labels.shape)}")
    void = labels == IGNORE_INDEX
    if not void.any():
        return labels.copy()
    if void.all():
        return np.zeros_like(labels)
    # The nearest valid pixel always lies in the bounding box of the void pixels, grown by one pixel: a valid pixel
    # outside has a nearer one on the rim of that box, which is valid. So the transform only needs the box.
    rows, columns = np.flatnonzero(void.any(axis=1)), np.flatnonzero(void.any(axis=0))
    box = (slice(max(rows[0] - 1, 0), rows[-1] + 2), slice(max(columns[0] - 1, 0), columns[-1] + 2))
    inside, inside_void = labels[box], void[box]
    nearest = ndimage.distance_transform_edt(inside_void, return_distances=False, return_indices=True)
    filled = labels.copy()
    filled[box] = inside[nearest[0], nearest[1]]
    return filled
