"""Transformer block with attention inside windows, for feature maps of any size."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
            raise ValueError(f"num_heads={num_heads} must divide dim={dim}; choose another number of heads")
        if window_size < 1:
            raise ValueError(f"window_size={window_size} must be at least 1")
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


__all__ = ["WindowBlock"]
