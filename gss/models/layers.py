"""Layers for feature maps of any size: window attention, channel norm, fusion of levels, enlargement."""

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from gss.core.errors import InputError


class WindowBlock(nn.Module):
    """Positional convolution, windowed self-attention and MLP, each a pre-normalised residual.

    The positions come from a 3x3 depthwise convolution, which also carries information across window borders. Maps
    that the window does not divide are padded, and the padding is masked out of the attention. A shifted block moves
    the window grid by half a window along every side longer than one window. There are no buffers:
    `PreTrainedModel.from_pretrained` would return non-persistent ones uninitialised.

    Args:
        dim: Number of channels C.
        num_heads: Attention heads; must divide `dim`.
        window_size: Side of the square window, in cells.
        shift: Move the window grid by half a window.
        mlp_ratio: Width of the MLP relative to `dim`.

    Raises:
        InputError: `num_heads` does not divide `dim`, or a size is not positive.
    """

    def __init__(self, dim: int, num_heads: int, window_size: int, shift: bool, mlp_ratio: float = 2.0) -> None:
        super().__init__()
        if num_heads < 1 or dim % num_heads:
            raise InputError(f"num_heads={num_heads} must divide dim={dim}; choose another number of heads")
        if window_size < 1:
            raise InputError(f"window_size={window_size} must be at least 1")
        self.num_heads = num_heads
        self.window_size = window_size
        self.shift = shift
        self.position = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm1 = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        width = int(dim * mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(dim, width), nn.GELU(), nn.Linear(width, dim))

    def forward(self, x: Tensor, return_attention: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Mix a feature map.

        Args:
            x: `[B, C, h, w]`, any h and w; channels-last memory avoids copies.
            return_attention: also return the attention weights `[B * windows, heads, win * win, win * win]`.

        Returns:
            `[B, C, h, w]`.
        """
        # Each sum goes into the memory of its fresh second part.
        x = self.position(x).add_(x)
        x = x.permute(0, 2, 3, 1)  # [B, h, w, C]
        mixed, attention = self._attend(self.qkv(self.norm1(x)), return_attention)
        x = self.proj(mixed).add_(x)
        x = self.mlp(self.norm2(x)).add_(x)
        x = x.permute(0, 3, 1, 2)
        return x if attention is None else (x, attention)

    def attend(self, qkv: Tensor) -> Tensor:
        """Attend inside windows: projections `[B, h, w, 3C]` to `[B, h, w, C]`."""
        return self._attend(qkv)[0]

    def _attend(self, qkv: Tensor, return_attention: bool = False) -> tuple[Tensor, Tensor | None]:
        batch, height, width, _ = qkv.shape
        win = self.window_size
        top = win // 2 if self.shift and height > win else 0
        left = win // 2 if self.shift and width > win else 0
        bottom, right = -(height + top) % win, -(width + left) % win
        padded = (top, left, bottom, right) != (0, 0, 0, 0)
        if padded:
            qkv = F.pad(qkv, (0, 0, left, right, top, bottom))
        rows, cols = qkv.shape[1] // win, qkv.shape[2] // win
        query, key, value = rearrange(
            qkv,
            "b (rows i) (cols j) (qkv heads d) -> qkv (b rows cols) heads (i j) d",
            i=win,
            j=win,
            qkv=3,
            heads=self.num_heads,
        )
        mask = None
        if padded:
            # Padding never fills a window, so no softmax row is empty.
            real = F.pad(qkv.new_ones(height, width, dtype=torch.bool), (left, right, top, bottom))
            real = rearrange(real, "(rows i) (cols j) -> (rows cols) 1 1 (i j)", i=win, j=win)
            mask = real.repeat(batch, 1, win * win, 1)  # [B * rows * cols, 1, win * win, win * win]
        attention = None
        if return_attention:  # the fused kernel does not give them
            scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
            attention = (scores if mask is None else scores.masked_fill(~mask, float("-inf"))).softmax(-1)
            x = attention @ value
        else:
            x = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = rearrange(
            x, "(b rows cols) heads (i j) d -> b (rows i) (cols j) (heads d)", b=batch, rows=rows, cols=cols, i=win
        )
        return (x[:, top : top + height, left : left + width] if padded else x), attention


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of `[B, C, h, w]`.

    Without statistics over positions or the batch, the result depends neither on padding or window size nor on how
    a batch is split over processes.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `[B, C, h, w]` at every position."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class FeatureFusion(nn.Module):
    """Sum of all levels from coarse to fine, then a depthwise-separable convolution.

    Every level is projected to `dim` channels and normalised at its own resolution, which is cheap, and enlarged
    afterwards. Levels finer than the grid are averaged down before the projection, which commutes with the mean.
    Levels of equal size, as plain vision transformers give them, are simply added.

    Args:
        in_channels: Channels of every level, in the backbone's order.
        dim: Output channels D.
    """

    def __init__(self, in_channels: Sequence[int], dim: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Conv2d(channels, dim, 1) for channels in in_channels)
        self.norms = nn.ModuleList(ChannelNorm(dim) for _ in in_channels)
        self.mix = nn.Sequential(
            nn.GELU(),
            nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False),
            ChannelNorm(dim),
            nn.Conv2d(dim, dim, 1),
        )

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Fuse the levels.

        Args:
            features: One map `[B, C_i, h_i, w_i]` per level; all cover the same image area.
            size: Grid size (h, w) of the result.

        Returns:
            Fused features `[B, D, h, w]`.
        """
        # 1. Each level at its own resolution, [B, D, h_i, w_i].
        pooled = [
            F.adaptive_avg_pool2d(x, size) if x.shape[-2] > size[0] or x.shape[-1] > size[1] else x for x in features
        ]
        levels = [norm(proj(x)) for x, proj, norm in zip(pooled, self.projections, self.norms, strict=True)]

        # 2. From coarse to fine, then to the grid, [B, D, h, w].
        levels.sort(key=lambda x: x.shape[-2] * x.shape[-1])
        fused = levels[0]
        for level in levels[1:]:
            fused = level + enlarge(fused, (level.shape[-2], level.shape[-1]))
        fused = enlarge(fused, size)
        return self.mix(fused).add_(fused)


def enlarge(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolate `[B, C, h', w']` bilinearly to `[B, C, h, w]`."""
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def select_states(states: tuple[Tensor, ...], wanted: bool | int | Sequence[int] | None) -> tuple[Any, ...] | None:
    """Return the hidden states that are asked for, in the form of transformers.

    Args:
        states: all of them.
        wanted: whether all are, or indices, negative ones from the end.

    Returns:
        All states, with None in the places that are not wanted; None if none is.
    """
    if isinstance(wanted, bool) or wanted is None:
        return states if wanted else None
    indices = {index % len(states) for index in ([wanted] if isinstance(wanted, int) else wanted)}
    return tuple(state if index in indices else None for index, state in enumerate(states))
