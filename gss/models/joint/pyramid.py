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

    def forward(self, around: list[Tensor], share: Tensor) -> tuple[Tensor, Tensor]:
        """Return the shares and how much is known.

        Args:
            around: result of `known_around`, of as many levels.
            share: `[K]`, shares of the classes in the data set.

        Returns:
            Class shares `[B, K, h, w]` of sum 1; and known cells around, n / (n + 1) of each level `[B, levels, h, w]`.
        """
        # 1. From coarse to fine.
        belief = share[:, None, None].expand_as(around[-1])
        counts = []
        for known, strength in zip(reversed(around), self.log_strength.exp().flip(0), strict=True):
            height, width = known.shape[-2:]
            belief = _enlarge_twice(belief, height, width)
            count = known.sum(1, keepdim=True)
            belief = (known + strength * belief) / (count + strength)
            counts.append(count / (count + 1))

        # 2. The counts on the finest grid, [B, levels, h, w].
        size = (around[0].shape[-2], around[0].shape[-1])
        return belief, torch.cat([enlarge(count, size) for count in reversed(counts)], 1)


class LocalShift(nn.Module):
    """How much more often than the image says the classes occur around every cell.

    With N_s the known cells of a class around a cell at level s, and E_s the number that the image expects at the same
    known cells, the mean of a Gamma distribution whose prior is the level above:

        ratio_s = (N_s + strength_s * ratio_(s+1)) / (E_s + strength_s),  1 above the coarsest level.

    Where the image is right about what is known, the ratio is 1: the known cells add nothing. Known cells that the
    image itself drew leave it at 1 in the mean. It is the correction of class frequencies of Saerens et al. (Neural
    Computation 2002), for every place of the image.

    Args:
        levels: number of levels; each halves the grid.
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.log_strength = nn.Parameter(torch.linspace(0.0, 2.0, levels))

    def forward(self, around: list[Tensor], expected: list[Tensor]) -> Tensor:
        """Return the log of the ratio, `[B, K, h, w]`.

        Args:
            around: result of `known_around`, of at least as many levels.
            expected: the same of the class shares by the image at the known cells.
        """
        levels = len(self.log_strength)
        ratio = torch.ones_like(around[levels - 1])
        for level in reversed(range(levels)):
            height, width = around[level].shape[-2:]
            strength = self.log_strength[level].exp()
            ratio = _enlarge_twice(ratio, height, width)
            ratio = (around[level] + strength * ratio) / (expected[level] + strength)
        return ratio.clamp(min=1e-3).log()


def known_around(mass: Tensor, levels: int) -> list[Tensor]:
    """Return the known cells of each class around every cell at every level, `[B, K, h / 2^s, w / 2^s]` each.

    Args:
        mass: `[B, K, h, w]`, known share of each cell by class: sums to 1 over K in a known cell, 0 in others.
        levels: number of levels.
    """
    around = [_blur(mass)]
    for _ in range(levels - 1):
        mass = 4 * F.avg_pool2d(F.pad(mass, (0, mass.shape[3] % 2, 0, mass.shape[2] % 2)), 2)
        around.append(_blur(mass))
    return around


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
