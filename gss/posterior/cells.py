"""Cells: the f x f pixel blocks that one token describes."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from gss.core.errors import InputError
from gss.labels.space import IGNORE_INDEX


def to_cells(labels: Tensor, token_stride: int) -> Tensor:
    """Cut label maps `[B, H, W]` into cells `[B, h, w, f, f]`.

    Raises:
        InputError: H or W is not a multiple of f.
    """
    height, width = labels.shape[1:]
    f = token_stride
    if height % f or width % f:
        raise InputError(f"labels of {height}x{width} pixels do not divide into cells of {f}: crop or pad them first")
    return rearrange(labels, "b (h i) (w j) -> b h w i j", i=f, j=f)


def from_cells(cells: Tensor) -> Tensor:
    """Join cells `[B, h, w, f, f]` into label maps `[B, h*f, w*f]`."""
    return rearrange(cells, "b h w i j -> b (h i) (w j)")


def pixels_to_rows(pixels: Tensor, token_stride: int) -> Tensor:
    """Cut float32 maps `[K, h*f, w*f]` into one row per cell, `[h*w, K*f*f]`; the fast way for f = 4, 8, 16.

    Four neighbouring numbers move as one 16-byte element.
    """
    f = token_stride
    cells = rearrange(pixels.view(torch.complex128), "k (h i) (w j) -> h w k i j", i=f, j=f // 4).contiguous()
    return cells.flatten(2).flatten(0, 1).view(torch.float32)


def rows_to_pixels(rows: Tensor, pixels: Tensor, token_stride: int) -> None:
    """Write the rows of cells `[h*w, K*f*f]` into float32 maps `[K, h*f, w*f]`, the inverse of `pixels_to_rows`."""
    f, width = token_stride, pixels.shape[2] // token_stride
    target = rearrange(pixels.view(torch.complex128), "k (h i) (w j) -> h w k i j", i=f, j=f // 4)
    source = rows.view(torch.complex128)
    target.copy_(rearrange(source, "(h w) (k i j) -> h w k i j", w=width, i=f, j=f // 4))


def is_uniform(cells: Tensor) -> Tensor:
    """Tell for every cell `[..., f, f]` if it shows one value only; bool `[...]`."""
    flat = cells.flatten(-2)
    return (flat == flat[..., :1]).all(-1)


def class_weights(counts: Tensor, power: float) -> Tensor:
    """Return weights `[K]` proportional to frequency^-power, of frequency-weighted mean 1; 0 for absent classes.

    Args:
        counts: `[K]`, pixels per class.
        power: exponent, 0 (all ones) to 1 (inverse frequency).
    """
    share = counts.double() / counts.sum().clamp(min=1)
    weight = torch.where(share > 0, share.clamp(min=1e-12) ** -power, torch.zeros_like(share))
    return (weight / (weight * share).sum().clamp(min=1e-12)).float()


def pixel_weights(labels: Tensor, class_weight: Tensor) -> Tensor:
    """Look up the weight of every label, 0 for void; float of the shape of `labels`."""
    padded = torch.cat([class_weight, class_weight.new_zeros(IGNORE_INDEX + 1 - len(class_weight))])
    return padded[labels]


def draw_cells(labels: Tensor, token_stride: int, count: int, class_weight: Tensor, uniform_share: float) -> Tensor:
    """Draw cells so that rare classes and class borders are well represented.

    Five in six cells of a street scene at f = 4 show one class, and K codes explain those. The draw prefers the
    others, and among them those with rare classes. It uses the global random source, which the training loop seeds at
    every step.

    Args:
        labels: int64 `[B, H, W]`, void 255. Wholly void cells are left out.
        token_stride: f.
        count: number of cells to draw, with replacement.
        class_weight: `[K]` non-negative; a mixed cell is drawn in proportion to its mean pixel weight, a uniform one
            to the square of it.
        uniform_share: share of one-class cells among those drawn.

    Returns:
        int64 `[count]`, positions in the flattened grid of cells; `[0]` if no cell has a valid pixel.
    """
    cells = to_cells(labels, token_stride).flatten(0, 2)  # [B * h * w, f, f]
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
    # If one of the two groups is empty, the other one fills up.
    return pool[torch.randperm(len(pool), device=pool.device).repeat(-(-count // len(pool)))[:count]]


def collage(cells: Tensor) -> Tensor:
    """Lay out N cells `[N, f, f]` as one square label map `[1, a*f, a*f]`; surplus cells are dropped.

    A local model never mixes cells, so it can be trained on a collage as well as on whole maps.
    """
    side = int(len(cells) ** 0.5)
    return from_cells(cells[: side * side].reshape(1, side, side, *cells.shape[1:]))
