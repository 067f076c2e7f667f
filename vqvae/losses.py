"""Reconstruction loss in colour space."""

from __future__ import annotations

from torch import Tensor


def color_loss(sample: Tensor, maskige: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean of absolute plus squared error between maskiges `[B, 3, H, W]`.

    The absolute term keeps edges sharp; the squared term penalises colours between two classes.

    Args:
        sample: reconstruction in [-1, 1].
        maskige: target in [-1, 1].
        weight: `[B, H, W]`, weight of each pixel in the mean; 1 if None.
    """
    error = sample - maskige
    per_pixel = (error.abs() + error.square()).mean(1)  # [B, H, W]
    if weight is None:
        return per_pixel.mean()
    return (per_pixel * weight).sum() / weight.sum().clamp(min=1e-8)
