"""Predicted and true label maps, checked: what every segmentation metric starts from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gss.core.errors import InputError
from gss.labels.space import IGNORE_INDEX


class LabelMaps(NamedTuple):
    """One batch of predictions and their truth.

    Attributes:
        labels: predicted labels, uint8 `[B, H, W]`, 0..K-1.
        target: true labels, uint8 `[B, H, W]`, 0..K-1 or 255 for void.
        valid: whether the truth is not void, bool `[B, H, W]`.
        confidence: top probability `[B, H, W]`; None if the prediction was labels.
    """

    labels: Tensor
    target: Tensor
    valid: Tensor
    confidence: Tensor | None


def read_maps(prediction: Tensor | np.ndarray, target: Tensor | np.ndarray, num_classes: int) -> LabelMaps:
    """Check one image or one batch.

    Args:
        prediction: label map `[H, W]` or `[B, H, W]` (integers 0..K-1), or class probabilities `[K, H, W]` or
            `[B, K, H, W]` (floating point).
        target: true labels `[H, W]` or `[B, H, W]`, integers 0..K-1 or 255 for void.
        num_classes: K.

    Raises:
        ValueError: shapes do not fit, or labels lie outside 0..K-1.
    """
    prediction, target = torch.as_tensor(prediction), torch.as_tensor(target)
    if target.ndim not in (2, 3) or target.is_floating_point():
        raise InputError(f"target must be an integer [H, W] or [B, H, W], got {_describe(target)}")
    if prediction.ndim == target.ndim + 1 and prediction.is_floating_point():
        if prediction.shape[-3] != num_classes:
            raise InputError(
                f"prediction has {prediction.shape[-3]} class probabilities ({_describe(prediction)}), "
                f"these metrics were made for num_classes={num_classes}"
            )
        confidence, labels = prediction.max(dim=-3)
    elif prediction.ndim == target.ndim and not prediction.is_floating_point():
        confidence, labels = None, prediction
    else:
        raise InputError(
            f"prediction must be integer labels like target ({_describe(target)}) or floating-point "
            f"probabilities with an axis of {num_classes} classes more, got {_describe(prediction)}"
        )
    if labels.shape != target.shape:
        raise InputError(
            f"prediction size {tuple(labels.shape)} differs from target size {tuple(target.shape)}; "
            "predict at the original size of the image"
        )
    target = _bytes("target", target, num_classes, void=True).to(labels.device)
    labels = _bytes("prediction", labels, num_classes) if confidence is None else labels.to(torch.uint8)
    shape = (-1, *target.shape[-2:])
    target, labels = target.reshape(shape), labels.reshape(shape)
    return LabelMaps(labels, target, target != IGNORE_INDEX, None if confidence is None else confidence.reshape(shape))


def check_range(name: str, value: int, low: int, high: int) -> None:
    """Require a setting to lie in low..high.

    Raises:
        ValueError: it does not.
    """
    if not low <= value <= high:
        raise InputError(f"{name} must be between {low} and {high}, got {value}")


def _bytes(name: str, labels: Tensor, num_classes: int, *, void: bool = False) -> Tensor:
    """Return labels as uint8, after a check of their range."""
    if labels.dtype not in (torch.uint8, torch.int32, torch.int64):
        labels = labels.long()  # 16-bit and boolean tensors lack comparisons
    unknown = (labels < 0) | (labels >= num_classes)
    if void:
        unknown &= labels != IGNORE_INDEX
    if unknown.any():
        also = f" and {IGNORE_INDEX} (void)" if void else ""
        first = int(labels[unknown][0])
        raise InputError(f"{name} holds label {first}, allowed are 0..{num_classes - 1}{also}")
    return labels.to(torch.uint8)


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
