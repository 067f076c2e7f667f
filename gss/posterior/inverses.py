"""Inverses of the maskige: the nearest-colour table of 8-bit images, and trained corrections of the logits.

Both trained inverses end in a zero-initialised layer, so before training they decode exactly like the nearest colour.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from gss.core.errors import InputError, unknown_name
from gss.models.layers import WindowBlock

INVERSES = ("nearest", "conv", "swin")
_NUM_HEADS = 4
_WINDOW_SIZE = 8


class ConvInverse(nn.Module):
    """Three convolutions 5x5, 3x3, 1x1 with activations between: the paper's FT inverse, as a correction of the logits.

    Args:
        num_classes: K.
        width: channels of the hidden layers.
    """

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        # Replicated borders: zeros would be mid-grey, a colour that no border pixel has next to it.
        self.conv_in = nn.Conv2d(3, width, 5, padding=2, padding_mode="replicate")
        self.conv_mid = nn.Conv2d(width, width, 3, padding=1, padding_mode="replicate")
        self.conv_out = nn.Conv2d(width, num_classes, 1)
        _zero(self.conv_out)

    def forward(self, maskige: Tensor) -> Tensor:
        """Return the correction of class logits `[B, K, H, W]` for a maskige `[B, 3, H, W]` in [-1, 1]."""
        hidden = F.gelu(self.conv_in(maskige))
        hidden = F.gelu(self.conv_mid(hidden))
        return self.conv_out(hidden)


class SwinInverse(nn.Module):
    """Windowed transformer between two 1x1 convolutions: the paper's FT-W inverse, as a correction of the logits.

    Pixel-unshuffling by `reduction` gives the attention `reduction`^2 times fewer positions without losing input.
    Any image size works.

    Args:
        num_classes: K.
        width: channels of the transformer; a multiple of 4 (the number of heads).
        reduction: side, in pixels, of the block that becomes one position.
    """

    def __init__(self, num_classes: int, width: int, reduction: int) -> None:
        super().__init__()
        self.reduction = reduction
        self.conv_in = nn.Conv2d(3 * reduction**2, width, 1)
        # One plain and one shifted layer, so that information crosses window borders.
        self.blocks = nn.ModuleList(WindowBlock(width, _NUM_HEADS, _WINDOW_SIZE, shift) for shift in (False, True))
        self.norm = nn.LayerNorm(width)
        self.conv_out = nn.Conv2d(width, num_classes * reduction**2, 1)
        _zero(self.conv_out)

    def forward(self, maskige: Tensor) -> Tensor:
        """Return the correction of class logits `[B, K, H, W]` for a maskige `[B, 3, H, W]` in [-1, 1]."""
        height, width = maskige.shape[-2:]
        padding = (0, -width % self.reduction, 0, -height % self.reduction)
        hidden = F.pad(maskige, padding, mode="replicate")
        hidden = self.conv_in(F.pixel_unshuffle(hidden, self.reduction))  # [B, D, H/r, W/r]
        for block in self.blocks:
            hidden = block(hidden)
        hidden = self.norm(hidden.movedim(1, -1)).movedim(-1, 1)
        logits = F.pixel_shuffle(self.conv_out(hidden), self.reduction)
        return logits[..., :height, :width]


def _zero(layer: nn.Module) -> None:
    """Set all parameters to 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def build_inverse(name: str, num_classes: int, *, width: int, reduction: int) -> nn.Module | None:
    """Build the correction network of an inverse; None for `nearest`, which has none.

    Raises:
        InputError: unknown name, or a width or reduction that the network cannot have.
    """
    if name not in INVERSES:
        raise unknown_name("inverse", name, INVERSES)
    if width < 1:
        raise InputError(f"inverse_width: {width} is not positive; 64 is usual")
    if reduction < 1:
        raise InputError(f"inverse_reduction: {reduction} is not positive; 1 keeps full resolution, 2 is usual")
    if name == "conv":
        return ConvInverse(num_classes, width)
    if name == "swin":
        if width % _NUM_HEADS:
            fix = -(-width // _NUM_HEADS) * _NUM_HEADS
            raise InputError(f"inverse_width: {width} is not a multiple of {_NUM_HEADS} heads; use {fix}")
        return SwinInverse(num_classes, width, reduction)
    return None


def nearest_table(palette: np.ndarray) -> np.ndarray:
    """Return the nearest palette entry of every 8-bit colour; equal distances go to the lower class.

    The cube is cut into blocks. The difference of the squared distances to two colours is linear in the pixel, so its
    range over a block has a closed form that excludes nearly all classes.

    Args:
        palette: `[K, 3]` in 8-bit units, K <= 255; need not be integers.

    Returns:
        uint8 `[256, 256, 256]`, indexed by red, green, blue.
    """
    side, blocks = 16, 16
    colors = np.asarray(palette, dtype=np.float32)
    levels = np.arange(256, dtype=np.float32)
    squares = np.square(levels[None, None, :] - colors[:, :, None])  # [K, 3, 256]
    middle = levels.reshape(blocks, side).mean(axis=1)
    centers = np.stack(np.meshgrid(middle, middle, middle, indexing="ij"), axis=-1).reshape(-1, 3)
    scores = 2.0 * centers @ colors.T - np.square(colors).sum(axis=1)  # [blocks^3, K], largest = nearest
    leader = scores.argmax(axis=1)
    reach = (side - 1) * np.abs(colors[:, None] - colors[None, :]).sum(axis=-1)  # [K, K]
    # The margin of 1 covers float32 rounding of palettes that are not integers.
    possible = scores.max(axis=1, keepdims=True) - scores <= reach[leader] + 1.0
    table = np.empty((256, 256, 256), dtype=np.uint8)
    for index, (i, j, k) in enumerate(np.ndindex(blocks, blocks, blocks)):
        red, green, blue = (slice(n * side, (n + 1) * side) for n in (i, j, k))
        classes = np.flatnonzero(possible[index])
        if len(classes) == 1:
            table[red, green, blue] = classes[0]
            continue
        near = squares[classes]
        distances = near[:, 0, red, None, None] + near[:, 1, None, green, None] + near[:, 2, None, None, blue]
        table[red, green, blue] = classes[distances.argmin(axis=0)]
    return table
