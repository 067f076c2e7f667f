"""Labels and tags of a batch on the grid of its features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gss.labels.space import IGNORE_INDEX
from gss.weak.agmm.mixture import label_mass


@dataclass(frozen=True)
class Evidence:
    """Labels and tags of a batch on the grid of its features; nothing here comes from the network.

    Attributes:
        mass: `[B, K, h, w]`, in pixels; result of `gss.weak.agmm.mixture.label_mass`.
        certainty: `[B, h, w]` in 0..1, mean confidence of the labels of a cell, less where they weigh less than one
            pixel; 0 without labels.
        valid: `[B, h, w]` in 0..1, share of each cell that lies in the image and not in padding.
        allowed: bool `[B, K]`, classes the image may hold, at least one.
        cell_pixels: number of pixels of the label map per cell.
    """

    mass: Tensor
    certainty: Tensor
    valid: Tensor
    allowed: Tensor
    cell_pixels: float

    @property
    def present(self) -> Tensor:
        """Classes with a labelled pixel, bool `[B, K]`."""
        return self.mass.flatten(2).any(2)

    def area(self, weights: Tensor) -> Tensor:
        """Return shares of cells `[B, K, h, w]` as numbers of pixels, without padding."""
        return weights * (self.valid * self.cell_pixels)[:, None]


def gather_evidence(
    labels: Tensor,
    num_classes: int,
    grid: tuple[int, int],
    *,
    valid: Tensor | None = None,
    confidence: Tensor | None = None,
    tags: Tensor | None = None,
    exhaustive: Tensor | None = None,
) -> Evidence:
    """Bring labels and tags onto a grid.

    Args:
        labels: int64 `[B, H, W]`, 255 where unlabelled.
        num_classes: K.
        grid: (h, w).
        valid: bool `[B, H, W]`, False on padding; everything is valid when None.
        confidence: `[B, H, W]` in 0..1, confidence of each label; 1 for all when None.
        tags: bool `[B, K]`, classes of each whole image.
        exhaustive: bool `[B]`, True where the tags are all classes of the image; True for all when None. Other tags,
            and empty ones, exclude nothing.
    """
    mass = label_mass(labels, num_classes, grid, confidence=confidence)
    count = total = mass.sum(1)
    if confidence is not None:
        count = label_mass(torch.where((labels >= 0) & (labels < num_classes), 0, IGNORE_INDEX), 1, grid)[:, 0]
    certainty = count.clamp(max=1) * total / torch.where(count > 0, count, 1)
    share = torch.ones_like(mass[:, 0])
    if valid is not None:
        share = F.interpolate(valid[:, None].to(mass.dtype), size=grid, mode="area")[:, 0]
    allowed = torch.ones_like(mass[:, :, 0, 0], dtype=torch.bool)
    if tags is not None:
        named = tags | mass.flatten(2).any(2)
        complete = named.any(1) if exhaustive is None else exhaustive & named.any(1)
        allowed = named | ~complete[:, None]
    pixels = labels.shape[1] * labels.shape[2] / (grid[0] * grid[1])
    return Evidence(mass, certainty, share, allowed, pixels)


def seeded(posterior: Tensor, evidence: Evidence) -> Tensor:
    """Return the labels of a cell where it has some, else its posterior, mixed by the certainty of the labels."""
    total, certainty = evidence.mass.sum(1, keepdim=True), evidence.certainty[:, None]
    seeds = evidence.mass / torch.where(total > 0, total, 1)
    return certainty * seeds + (1 - certainty) * posterior
