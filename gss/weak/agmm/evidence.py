"""What weak labels say of a batch, on the grid of its features, before the network is asked."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gss.labels.space import IGNORE_INDEX
from gss.weak.agmm.mixture import label_mass


@dataclass(frozen=True)
class Evidence:
    """What is known of a batch before the network is asked, on the grid of its features.

    Attributes:
        mass: `gss.weak.agmm.mixture.label_mass` `[B, K, h, w]`.
        certainty: how far a cell is decided by its labels `[B, h, w]`: their confidence, in full from the weight of
            one labelled pixel on.
        valid: share of each cell that lies in the image, not in padding `[B, h, w]`.
        allowed: classes the image may hold, bool `[B, K]`; at least one is.
        cell_pixels: pixels of the label map per cell.
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
        """Pixels that `[B, K, h, w]` shares of cells amount to, without padding."""
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
    """Brings labels and tags onto a grid.

    Args:
        labels: int64 `[B, H, W]`, 255 where unlabelled.
        num_classes: K.
        grid: (h, w).
        valid: bool `[B, H, W]`, False on padding; everything is valid when None.
        confidence: of each label `[B, H, W]`, 0..1; 1 for all when None.
        tags: classes of each whole image, bool `[B, K]`.
        exhaustive: whether an image's tags are all its classes, bool `[B]`; True for all when None. Tags that are
            not, and empty ones, exclude nothing.
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
    """Labels where a cell has them, else the posterior, mixed by the certainty of the labels."""
    total, certainty = evidence.mass.sum(1, keepdim=True), evidence.certainty[:, None]
    seeds = evidence.mass / torch.where(total > 0, total, 1)
    return certainty * seeds + (1 - certainty) * posterior
