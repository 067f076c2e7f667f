"""Void pixels take the nearest valid label before a mask is encoded; losses and metrics still ignore them."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from scipy import ndimage

from gss.labels import IGNORE_INDEX

__all__ = ["fill_void"]

Labels = TypeVar("Labels", np.ndarray, torch.Tensor)


def fill_void(labels: Labels) -> Labels:
    """Replace every void pixel by the label of the nearest valid pixel (exact Euclidean distance).

    Args:
        labels: integer array `[H, W]` or `[B, H, W]`, or a tensor of these shapes; 255 marks void. Never
            written to.

    Returns:
        A new array or tensor of the same shape and type without 255. An image that is void everywhere
        becomes 0.

    Raises:
        ValueError: another number of dimensions.
    """
    if isinstance(labels, torch.Tensor):
        filled = fill_void(labels.detach().cpu().numpy())
        return torch.from_numpy(filled).to(labels.device)
    if labels.ndim == 3:
        return np.stack([fill_void(image) for image in labels]) if len(labels) else labels.copy()
    if labels.ndim != 2:
        raise ValueError(f"labels must be [H, W] or [B, H, W], got shape {tuple(labels.shape)}")
    void = labels == IGNORE_INDEX
    if not void.any():
        return labels.copy()
    if void.all():
        return np.zeros_like(labels)
    # The nearest valid pixel of a void pixel always lies in the bounding box of all void pixels grown by
    # one pixel: moving it to that box brings it closer, and the grown rim is valid. The transform only has
    # to see that box.
    rows, columns = np.flatnonzero(void.any(axis=1)), np.flatnonzero(void.any(axis=0))
    box = (slice(max(rows[0] - 1, 0), rows[-1] + 2), slice(max(columns[0] - 1, 0), columns[-1] + 2))
    inside, inside_void = labels[box], void[box]
    nearest = ndimage.distance_transform_edt(inside_void, return_distances=False, return_indices=True)
    filled = labels.copy()
    filled[box] = inside[nearest[0], nearest[1]]
    return filled
