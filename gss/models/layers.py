"""Transformer block with attention inside windows, for feature maps of any size."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gss.core.errors import InputError


class WindowBlock(nn.Module):
    """Positional convolution, windowed self-attention and MLP, each a pre-normalised residual.

    The positions come from a 3x3 depthwise convolution, which also carries information across window borders
    when no shifted block follows. Maps that the window does not divide are padded inside and the padding is
    masked out of the attention, so no output depends on it. A shifted block moves the window grid by half a
    window along every side longer than one window. There are no buffers: `from_pretrained` of a
    `PreTrainedModel` would return non-persistent ones uninitialised.

    Args:
        dim: Number of channels C.
        num_heads: Attention heads; must divide `dim`.
        window_size: Side of the square window, in cells.
        shift: Move the window grid by half a window.
        mlp_ratio: Width of the MLP relative to `dim`.

    Raises:
        ValueError: If `num_heads` does not divide `dim` or a size is not positive.
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

    def forward(self, x: Tensor) -> Tensor:
        """Mix a feature map.

        Args:
            x: Features `[B, C, h, w]`, any h and w; channels-last memory avoids copies.

        Returns:
            Features `[B, C, h, w]`.
        """
        x = x + self.position(x)
        x = x.permute(0, 2, 3, 1)  # [B, h, w, C]
        x = x + self.proj(self._attend(self.qkv(self.norm1(x))))
        x = x + self.mlp(self.norm2(x))
        return x.permute(0, 3, 1, 2)

    def _attend(self, qkv: Tensor) -> Tensor:
        """Windowed attention of projected `[B, h, w, 3C]` -> `[B, h, w, C]`."""
        batch, height, width, channels = qkv.shape
        win, heads = self.window_size, self.num_heads
        top = win // 2 if self.shift and height > win else 0
        left = win // 2 if self.shift and width > win else 0
        bottom, right = -(height + top) % win, -(width + left) % win
        padded = (top, left, bottom, right) != (0, 0, 0, 0)
        if padded:
            qkv = F.pad(qkv, (0, 0, left, right, top, bottom))
        rows, cols = qkv.shape[1] // win, qkv.shape[2] // win
        qkv = qkv.reshape(batch, rows, win, cols, win, 3, heads, channels // 3 // heads)
        # [3, B * rows * cols, heads, win * win, C / heads]
        qkv = qkv.permute(5, 0, 1, 3, 6, 2, 4, 7).flatten(5, 6).flatten(1, 3)
        mask = None
        if padded:
            # Padding never fills a window, so no softmax row is empty.
            real = F.pad(qkv.new_ones(height, width, dtype=torch.bool), (left, right, top, bottom))
            real = real.reshape(rows, win, cols, win).transpose(1, 2).reshape(rows * cols, 1, 1, win * win)
            mask = real.repeat(batch, 1, win * win, 1)
        query, key, value = qkv.unbind(0)
        x = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x.reshape(batch, rows, cols, heads, win, win, -1).permute(0, 1, 4, 2, 5, 3, 6)
        x = x.reshape(batch, rows * win, cols * win, -1)
        return x[:, top : top + height, left : left + width] if padded else x


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of `[B, C, h, w]`.

    It uses no statistics over positions or the batch, so the result depends neither on padding or the window
    size nor on how a batch is split over processes.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `[B, C, h, w]` at every position."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class FeatureFusion(nn.Module):
    """Adds the levels from coarse to fine, then mixes them with a depthwise-separable convolution.

    Every level is projected to `dim` channels and normalised at its own resolution (cheap), and only then
    up-sampled; levels finer than the grid are averaged down before the projection, which commutes with it.
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
        pooled = [
            F.adaptive_avg_pool2d(x, size) if x.shape[-2] > size[0] or x.shape[-1] > size[1] else x for x in features
        ]
        levels = [norm(proj(x)) for x, proj, norm in zip(pooled, self.projections, self.norms, strict=True)]
        levels.sort(key=lambda x: x.shape[-2] * x.shape[-1])
        fused = levels[0]
        for level in levels[1:]:
            fused = level + _upsample(fused, (level.shape[-2], level.shape[-1]))
        fused = _upsample(fused, size)
        return fused + self.mix(fused)


def _upsample(x: Tensor, size: tuple[int, int]) -> Tensor:
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
