"""The bounded memory of GMMSeg's M-step."""

from __future__ import annotations

import torch
from torch import Tensor

from gss.models.estimation import Moments


class PixelMemory:
    """The newest pixels of every component, first in, first out.

    Args:
        groups: number of components J.
        size: number of pixels kept of each.
        dim: number of dimensions D.
        device: device of the memory.
    """

    def __init__(self, groups: int, size: int, dim: int, device: torch.device) -> None:
        self.pixels = torch.zeros(groups, size, dim, device=device)
        self.fill = torch.zeros(groups, dtype=torch.long, device=device)
        self.pointer = torch.zeros(groups, dtype=torch.long, device=device)

    def push(self, x: Tensor, groups: Tensor, most: int) -> None:
        """Add pixels `[N, D]` of groups `[N]`, of each group at most `most`, evenly spaced in the order given."""
        size = self.pixels.shape[1]
        most = min(most, size)
        ordered, order = groups.sort(stable=True)
        counts = torch.bincount(ordered, minlength=len(self.fill))
        starts = counts.cumsum(0) - counts
        rank = torch.arange(len(ordered), device=x.device) - starts[ordered]
        n = counts[ordered]
        # The i-th of `most` picks is rank floor(i (n - 1) / (most - 1)); which i, if any, picks this rank?
        gaps, steps = (n - 1).clamp(min=1), max(1, most - 1)
        pick = (rank * steps + gaps - 1) // gaps
        chosen = (pick < most) & (pick * gaps // steps == rank)
        few = n <= most
        pick, chosen = torch.where(few, rank, pick), few | chosen
        group, pick = ordered[chosen], pick[chosen]
        self.pixels[group, (self.pointer[group] + pick) % size] = x[order[chosen]]
        added = counts.clamp(max=most)
        self.pointer = (self.pointer + added) % size
        self.fill = (self.fill + added).clamp(max=size)

    def moments(self, *, full: bool) -> Moments:
        """Return the sufficient statistics of the pixels that are kept."""
        total = Moments.zeros(len(self.fill), self.pixels.shape[2], full=full, device=self.pixels.device)
        for group, pixels in enumerate(self.pixels):
            kept = pixels.double()  # slots never filled are zero
            total.first[group] = kept.sum(0)
            total.second[group] = kept.t() @ kept if full else kept.square().sum(0)
        total.count.copy_(self.fill)
        return total
