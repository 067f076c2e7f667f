"""Network that reads known tokens: a small pyramid on the context grid, with a branch on the token grid."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gss.models.layers import ChannelNorm, enlarge


class MixingBlock(nn.Module):
    """Depthwise convolution over 7 x 7 cells, then an MLP over channels; a residual.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Mix `[B, width, h, w]`, in channels-last memory."""
        mixed = self.mlp(self.norm(self.around(x).permute(0, 2, 3, 1)))  # [B, h, w, width]
        return x + mixed.permute(0, 3, 1, 2)


class TokenNetwork(nn.Module):
    """Features of every cell from embeddings of the tokens.

    Args:
        in_channels: channels of the embeddings.
        context_ratio: cells per side of a cell of the context grid.
        width: channels on the context grid.
        depth: blocks at every level.
        levels: levels; each halves the context grid.
        rank: channels of the result.
    """

    def __init__(self, in_channels: int, context_ratio: int, width: int, depth: int, levels: int, rank: int) -> None:
        super().__init__()
        self.ratio, self.rank = context_ratio, rank
        self.stem = nn.Conv2d(in_channels + 3, width, context_ratio, context_ratio)
        self.down = nn.ModuleList(
            nn.ModuleList(MixingBlock(width) for _ in range(depth if level else 1)) for level in range(levels)
        )
        self.up = nn.ModuleList(nn.Conv2d(2 * width, width, 1) for _ in range(levels - 1))
        self.norm = ChannelNorm(width)
        self.spread = nn.Conv2d(width, rank * context_ratio**2, 1)
        self.near = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 5, padding=2, groups=in_channels),
            nn.Conv2d(in_channels, rank, 1),
        )
        self.join = nn.Sequential(nn.GELU(), nn.Conv2d(rank, rank, 1))

    def forward(self, x: Tensor, rows: tuple[float, float]) -> Tensor:
        """Return features `[B, R, h, w]`.

        Args:
            x: embeddings `[B, C, h, w]`.
            rows: first and last row of the grid in the scene, as fractions of its height.
        """
        height, width = x.shape[-2:]
        near = self.near(x)

        # 1. Position and padding to whole cells of the context grid; stem, [B, width, h', w'].
        x = torch.cat([x, _positions(x, rows)], 1)
        x = F.pad(x, (0, -width % self.ratio, 0, -height % self.ratio))
        x = self.stem(x).contiguous(memory_format=torch.channels_last)

        # 2. Down and up the pyramid.
        kept = []
        for level, blocks in enumerate(self.down):
            if level:
                kept.append(x)
                x = F.avg_pool2d(x, 2, ceil_mode=True)
            for block in cast(nn.ModuleList, blocks):
                x = block(x)
        for mix in reversed(self.up):
            fine = kept.pop()
            x = fine + mix(torch.cat([fine, enlarge(x, (fine.shape[-2], fine.shape[-1]))], 1))

        # 3. To the token grid, [B, R, h, w].
        x = F.pixel_shuffle(self.spread(self.norm(x)), self.ratio)[..., :height, :width]
        return self.join(x + near)


def _positions(x: Tensor, rows: tuple[float, float]) -> Tensor:
    """Return the height in the scene, its square and the distance from the middle column, `[B, 3, h, w]`."""
    height, width = x.shape[-2:]
    steps = (torch.arange(height, device=x.device, dtype=x.dtype) + 0.5) / height
    y = (2 * (rows[0] + (rows[1] - rows[0]) * steps) - 1)[:, None].expand(height, width)
    side = ((torch.arange(width, device=x.device, dtype=x.dtype) + 0.5) / width * 2 - 1).abs().expand(height, width)
    return torch.stack([y, y.square(), side]).expand(len(x), -1, -1, -1)
