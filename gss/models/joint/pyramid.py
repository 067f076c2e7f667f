"""Class shares of every cell from the known cells around it: the nearer, the more they count."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gss.models.layers import enlarge


class BackOff(nn.Module):
    """Hierarchical Dirichlet smoothing over a pyramid of the grid.

    At the coarsest level the shares of the data set are the prior; at every finer one those of the level above, worth
    `strength` cells. With N_s the known cells of each class around a cell at level s, and n_s their number,

        belief_s = (N_s + strength_s * belief_(s+1)) / (n_s + strength_s).

    Where many cells are known nearby, they alone count; where none is, the belief is that of farther away. This is
    a normalised convolution whose width follows the density of what is known. It has one parameter per level.

    Args:
        levels: number of levels; each halves the grid.
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.log_strength = nn.Parameter(torch.linspace(-3.0, 4.0, levels))

    def forward(self, mass: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """Return the shares and how much is known.

        Args:
            mass: `[B, K, h, w]`, known share of each cell by class: sums to 1 over K in a known cell, 0 in others.
            share: `[K]`, shares of the classes in the data set.

        Returns:
            Class shares `[B, K, h, w]` of sum 1; and known cells around, n / (n + 1) of each level `[B, levels, h, w]`.
        """
        # 1. Known cells of each class around every cell, at every level: [B, K, h / 2^s, w / 2^s].
        around = [_blur(mass)]
        for _ in range(len(self.log_strength) - 1):
            mass = 4 * F.avg_pool2d(F.pad(mass, (0, mass.shape[3] % 2, 0, mass.shape[2] % 2)), 2)
            around.append(_blur(mass))

        # 2. From coarse to fine.
        belief = share[:, None, None].expand_as(around[-1])
        counts = []
        for known, strength in zip(reversed(around), self.log_strength.exp().flip(0), strict=True):
            height, width = known.shape[-2:]
            belief = _enlarge_twice(belief, height, width)
            count = known.sum(1, keepdim=True)
            belief = (known + strength * belief) / (count + strength)
            counts.append(count / (count + 1))

        # 3. The counts on the finest grid, [B, levels, h, w].
        size = (around[0].shape[-2], around[0].shape[-1])
        return belief, torch.cat([enlarge(count, size) for count in reversed(counts)], 1)


def _blur(x: Tensor) -> Tensor:
    """Add up neighbours with the weights 1/4, 1/2, 1/4 along both sides, times 4: a cell counts as 1 at its place."""
    x = F.pad(x, (1, 1, 1, 1))
    x = x[..., :-2] / 2 + x[..., 1:-1] + x[..., 2:] / 2
    return x[..., :-2, :] / 2 + x[..., 1:-1, :] + x[..., 2:, :] / 2


def _enlarge_twice(x: Tensor, height: int, width: int) -> Tensor:
    """Interpolate a level to the next finer one, `[.., height, width]`."""
    if x.shape[-2:] == (height, width):
        return x
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
