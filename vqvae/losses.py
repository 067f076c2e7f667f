"""Reconstruction loss in colour space."""

from __future__ import annotations

from torch import Tensor


def colour_loss(sample: Tensor, maskige: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean of absolute plus squared error between maskiges `[B, 3, H, W]`.

    The absolute term keeps edges sharp, the squared term keeps colours from settling between two classes.

    Args:
        sample: reconstruction in [-1, 1].
        maskige: target in [-1, 1].
        weight: optional pixel weights `[B, H, W]`; 0 leaves a pixel out. The mean is over the weights.
    """
    error = sample - maskige
    per_pixel = (error.abs() + error.square()).mean(1)  # [B, H, W]
    if weight is None:
        return per_pixel.mean()
    return (per_pixel * weight).sum() / weight.sum().clamp(min=1e-8)
