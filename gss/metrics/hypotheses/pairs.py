"""IoU of every mask of one set with every mask of another, and the conventions in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gss.core.errors import InputError
from gss.labels.space import IGNORE_INDEX

Absent = Literal["left out", "one", "zero"]
"""IoU of a class that neither mask shows: left out of the mean over classes, 1 or 0."""


@dataclass(frozen=True)
class Convention:
    """How the IoU of two masks, and the expectations of the energy distance, are formed.

    Attributes:
        absent: IoU of a class that neither mask shows.
        foreground: leave out class 0.
        unbiased: leave the pairs of a mask with itself out of the expectation over two samples.
    """

    absent: Absent
    foreground: bool = False
    unbiased: bool = False


CONVENTIONS = {
    "prob_unet": Convention("left out"),
    "ccdm": Convention("one", foreground=True),
    "mose": Convention("left out"),
    "atfm": Convention("zero", foreground=True),
    "unbiased": Convention("left out", unbiased=True),
}
"""Conventions of published code.

- `prob_unet`: Probabilistic U-Net (Kohl et al., NeurIPS 2018) on Cityscapes; truths are weighted by the probabilities
  of their modes.
- `ccdm`: CCDM (Zbinden et al., ICCV 2023) on LIDC: the foreground; two empty masks have IoU 1; uniform weights.
- `mose`: MoSE (Gao et al., ICLR 2023) on Cityscapes: as `prob_unet`, with weights of samples as well as of truths.
- `atfm`: ATFM (AAAI 2026): the foreground; two empty masks have IoU 0; uniform weights.
- `unbiased`: as `prob_unet`, with the U-statistic over samples. The others count the pairs of a sample with itself, so
  that n samples of a perfect model score about E d(Y, Y') / n instead of 0.
"""


def read_set(name: str, masks: Tensor | np.ndarray, num_classes: int, *, void: bool = False) -> Tensor:
    """Return masks, uint8 `[n, H, W]`.

    Args:
        name: name of the argument, for messages.
        masks: whole numbers `[n, H, W]`, n at least 1.
        num_classes: K.
        void: whether 255 is allowed.

    Raises:
        InputError: another shape, or labels outside 0..K-1.
    """
    values = torch.as_tensor(masks)
    if values.ndim != 3 or values.is_floating_point() or not len(values):
        kind = str(values.dtype).removeprefix("torch.")
        raise InputError(
            f"{name} must be whole numbers [n, H, W] with n of at least 1, got {kind} {list(values.shape)}"
        )
    wide = values.to(torch.int64)
    wrong = (wide < 0) | (wide >= num_classes)
    if void:
        wrong &= wide != IGNORE_INDEX
    if wrong.any():
        raise InputError(f"{name} holds label {int(wide[wrong][0])}, allowed are 0..{num_classes - 1}")
    return wide.to(torch.uint8)


def read_weights(name: str, weights: Tensor | Sequence[float] | None, count: int) -> Tensor:
    """Return weights, float64 `[count]` of sum 1; equal ones if None.

    Raises:
        InputError: another number of weights, a negative one, or a sum of 0.
    """
    if weights is None:
        return torch.full((count,), 1 / count, dtype=torch.float64)
    values = torch.as_tensor(weights, dtype=torch.float64)
    if values.shape != (count,) or bool((values < 0).any()) or float(values.sum()) <= 0:
        raise InputError(f"{name} must be {count} numbers of at least 0 with a sum above 0, got {values.tolist()}")
    return values / values.sum()


def pair_ious(
    first: Tensor, second: Tensor, classes: Sequence[int], *, absent: Absent, valid: Tensor | None = None
) -> Tensor:
    """Return the mean IoU over classes of every pair, float64 `[n, m]`.

    Args:
        first: masks, uint8 `[n, H, W]`.
        second: masks, uint8 `[m, H, W]`.
        classes: classes to average over.
        absent: IoU of a class that neither mask of a pair shows. Two masks without any of the classes have IoU 1 if
            such classes are left out.
        valid: bool `[H, W]`, pixels that count; None for all.
    """
    rows, columns = first.flatten(1), second.flatten(1)
    if valid is not None:
        rows, columns = rows[:, valid.flatten()], columns[:, valid.flatten()]
    total = torch.zeros(len(rows), len(columns), dtype=torch.float64, device=rows.device)
    counted = torch.zeros_like(total)
    for label in classes:
        # Sums of 0 and 1 up to 2^24 pixels are exact in float32.
        a, b = (rows == label).float(), (columns == label).float()
        both = (a @ b.t()).double()
        either = a.sum(1).double()[:, None] + b.sum(1).double()[None] - both
        there = either > 0
        ratio = torch.where(there, both / either.clamp(min=1), 1.0 if absent == "one" else 0.0)
        total += ratio
        counted += there if absent == "left out" else torch.ones_like(total)
    return torch.where(counted > 0, total / counted.clamp(min=1), 1.0)


def counted_classes(num_classes: int, classes: Sequence[int] | None, convention: Convention) -> list[int]:
    """Return the classes that a convention averages over.

    Args:
        num_classes: K.
        classes: classes to average over; None for all.
        convention: its `foreground` leaves out class 0.

    Raises:
        InputError: no class is left, or one does not exist.
    """
    chosen = list(range(num_classes)) if classes is None else list(classes)
    for label in chosen:
        if not 0 <= label < num_classes:
            raise InputError(f"classes holds {label}, allowed are 0..{num_classes - 1}")
    chosen = [label for label in chosen if label or not convention.foreground]
    if not chosen:
        raise InputError(f"classes is {list(classes or [])}; at least one class must be left")
    return chosen
