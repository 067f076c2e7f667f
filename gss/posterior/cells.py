"""Cells: the f x f pixel blocks that one token stands for."""

from __future__ import annotations

import torch
from torch import Tensor

from gss.core.errors import InputError
from gss.labels.space import IGNORE_INDEX


def to_cells(labels: Tensor, downsample: int) -> Tensor:
    """Cuts label maps `[B, H, W]` into cells `[B, h, w, f, f]`.

    Raises:
        ValueError: H or W is not a multiple of f.
    """
    B, H, W = labels.shape
    f = downsample
    if H % f or W % f:
        raise InputError(f"labels of {H}x{W} pixels do not divide into cells of {f}: crop or pad them first")
    return labels.reshape(B, H // f, f, W // f, f).transpose(2, 3)


def from_cells(cells: Tensor) -> Tensor:
    """Joins cells `[B, h, w, f, f]` into label maps `[B, h*f, w*f]`."""
    B, h, w, f, _ = cells.shape
    return cells.transpose(2, 3).reshape(B, h * f, w * f)


def is_uniform(cells: Tensor) -> Tensor:
    """True for every cell `[..., f, f]` that shows one value only; bool `[...]`."""
    flat = cells.flatten(-2)
    return (flat == flat[..., :1]).all(-1)


def class_weights(counts: Tensor, power: float) -> Tensor:
    """Weights `[K]` proportional to frequency^-power with a frequency-weighted mean of 1; absent classes get 0.

    Args:
        counts: pixels per class `[K]`.
        power: 0 (all ones) to 1 (inverse frequency).
    """
    share = counts.double() / counts.sum().clamp(min=1)
    weight = torch.where(share > 0, share.clamp(min=1e-12) ** -power, torch.zeros_like(share))
    return (weight / (weight * share).sum().clamp(min=1e-12)).float()


def pixel_weights(labels: Tensor, class_weight: Tensor) -> Tensor:
    """Weight of every label, 0 for void; float of the shape of `labels`."""
    padded = torch.cat([class_weight, class_weight.new_zeros(IGNORE_INDEX + 1 - len(class_weight))])
    return padded[labels]


def draw_cells(labels: Tensor, downsample: int, count: int, class_weight: Tensor, uniform_share: float) -> Tensor:
    """Draws cells so that rare classes and class borders are well represented.

    Five in six cells of a street scene at f = 4 show one class, and K codes explain those. Capacity and gradients
    belong to the others, and among them to the ones with rare classes. Draws from the global random source, which
    the training loop seeds at every step.

    Args:
        labels: int64 `[B, H, W]`, void 255. Cells that are partly void take part, wholly void ones do not.
        downsample: f.
        count: number of cells to draw, with replacement.
        class_weight: `[K]` non-negative; a mixed cell is drawn in proportion to its mean pixel weight, a uniform one
            to the square of it.
        uniform_share: share of one-class cells among those drawn.

    Returns:
        Positions `[count]` in the flattened grid of cells; none if no cell has a valid pixel.
    """
    cells = to_cells(labels, downsample).flatten(0, 2)
    importance = pixel_weights(cells, class_weight).mean((-1, -2))
    uniform = is_uniform(cells)
    drawn = []
    for group, power, share in ((uniform, 2.0, uniform_share), (~uniform, 1.0, 1.0 - uniform_share)):
        candidates = (group & (importance > 0)).nonzero()[:, 0]
        if len(candidates):
            weight = importance[candidates] ** power
            drawn.append(candidates[torch.multinomial(weight, max(1, round(count * share)), replacement=True)])
    if not drawn:
        return torch.empty(0, dtype=torch.long, device=labels.device)
    pool = torch.cat(drawn)
    # Where one of the two groups is empty the other one fills up.
    return pool[torch.randperm(len(pool), device=pool.device).repeat(-(-count // len(pool)))[:count]]


def collage(cells: Tensor) -> Tensor:
    """Lays N cells `[N, f, f]` out as one label map `[1, a*f, b*f]`, as square as possible; leftovers are dropped.

    A local codec never looks across cells, so it can be trained on a collage as well as on pictures.
    """
    side = int(len(cells) ** 0.5)
    return from_cells(cells[: side * side].reshape(1, side, side, *cells.shape[1:]))
