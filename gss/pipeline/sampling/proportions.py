"""Class proportions of generated masks: what a user asks for, and how it is reached."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gss.core.errors import InputError, unknown_name
from gss.pipeline.sampling.fill import Guide

_LEAST = 1e-4  # share at which a class counts as unwanted
_STRONGEST = 6.0  # largest change of a class's log-odds
_ROUNDS = 3  # of fitting the shares of the cells that are still unknown


def read_proportions(proportions: Mapping[str, float], id2label: Mapping[int, str]) -> Tensor:
    """Check class proportions and return them, float32 `[K]`.

    Args:
        proportions: class names to shares that sum to 1. Classes that are not named do not occur.
        id2label: class names by index.

    Raises:
        InputError: an unknown class, a share outside 0..1, or another sum.
    """
    index = {name: number for number, name in id2label.items()}
    target = torch.zeros(len(id2label), dtype=torch.float32)
    for name, share in proportions.items():
        if name not in index:
            raise unknown_name("class", name, list(index), where="proportions", plural="classes")
        if not isinstance(share, numbers.Real) or isinstance(share, bool) or not 0 <= share <= 1:
            raise InputError(f"proportions: the share of {name} is {share!r}; it must be a number from 0 to 1")
        target[index[name]] = float(share)
    total = float(target.sum())
    if not math.isclose(total, 1, abs_tol=1e-3):
        raise InputError(f"proportions sum to {total:g}; they must sum to 1")
    return target / total


def guide_shares(target: Tensor, share: Tensor, outside: Tensor, cells: int) -> Guide:
    """Return the guide of a window towards class proportions of the whole mask.

    In each step, the log-odds of every class are shifted by one number so that the expected shares of all unknown cells
    are those that are still missing (iterative proportional fitting of the independent cells). A code has the shift of
    the classes it paints, by their share in it. Shifts are at most 6 either way: a class that cannot be where it is
    still missing is not forced there.

    Args:
        target: wanted shares `[K]`.
        share: classes that each code paints `[V, K]`.
        outside: cells known outside the window, by class `[n, K]`.
        cells: number of cells of the whole mask.
    """

    def guide(logits: Tensor, tokens: Tensor, paths: slice) -> Tensor:
        # 1. Cells that are still missing of each class, as shares of all that are unknown anywhere, [B, K].
        unknown = (tokens == len(share)).flatten(1)  # [B, N]
        padded = torch.cat([share, torch.zeros_like(share[:1])])
        known = outside[paths] + padded[tokens].sum((1, 2))  # [B, K]
        wanted = (target * cells - known).clamp(min=_LEAST * cells)
        wanted = wanted / wanted.sum(1, keepdim=True)

        # 2. Shift of each class, [B, K].
        flat = logits.flatten(2)  # [B, V, N]
        shift = torch.zeros_like(wanted)
        for _ in range(_ROUNDS):
            chances = (flat + (shift @ share.t())[:, :, None]).softmax(1)
            mean = (chances * unknown[:, None]).sum(2) / unknown.sum(1, keepdim=True).clamp(min=1)  # [B, V]
            expected = (mean @ share).clamp(min=_LEAST)
            shift = (shift + wanted.log() - expected.log()).clamp(-_STRONGEST, _STRONGEST)
        return logits + (shift @ share.t())[:, :, None, None]

    return guide


def class_shares(masks: Sequence[Tensor], classes: int) -> Tensor:
    """Return the shares of the pixels of each mask `[H, W]` by class, float64 `[n, K]`."""
    counts = [torch.bincount(mask.flatten().long(), minlength=classes)[:classes] for mask in masks]
    rows = torch.stack(counts).double()
    return rows / rows.sum(1, keepdim=True)
