"""Encoders and decoders between maskiges and latent maps.

Masks are simple images, so the default coders cut them into patches and work at latent resolution. A *local* coder
mixes channels only: a latent depends on, and determines, its own cell of f x f pixels. A *contextual* one also mixes
neighbouring cells.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CellNorm(nn.Module):
    """Layer normalisation over the channels of every cell; cells stay independent."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `[B, C, h, w]` over C."""
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


class CellBlock(nn.Module):
    """Residual ConvNeXt block: an optional 5x5 depth-wise convolution over cells, then an MLP over channels."""

    def __init__(self, channels: int, *, contextual: bool) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 5, padding=2, groups=channels) if contextual else nn.Identity()
        self.norm = CellNorm(channels)
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.reduce = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, C, h, w]` to the same shape."""
        return x + self.reduce(nn.functional.gelu(self.expand(self.norm(self.mix(x)))))


class PatchEncoder(nn.Module):
    """Maskige `[B, 3, H, W]` to latents `[B, D, H/f, W/f]`."""

    def __init__(self, token_stride: int, hidden_dim: int, depth: int, latent_dim: int, *, contextual: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, hidden_dim, token_stride, stride=token_stride)
        self.blocks = nn.ModuleList(CellBlock(hidden_dim, contextual=contextual) for _ in range(depth))
        self.norm = CellNorm(hidden_dim)
        self.head = nn.Conv2d(hidden_dim, latent_dim, 1)

    def forward(self, maskige: Tensor) -> Tensor:
        """Encode a maskige `[B, 3, H, W]`; H and W are multiples of f."""
        x = self.stem(maskige)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class PatchDecoder(nn.Module):
    """Latents `[B, D, h, w]` to a maskige `[B, 3, h*f, w*f]` in [-1, 1]."""

    def __init__(self, token_stride: int, hidden_dim: int, depth: int, latent_dim: int, *, contextual: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(latent_dim, hidden_dim, 1)
        self.blocks = nn.ModuleList(CellBlock(hidden_dim, contextual=contextual) for _ in range(depth))
        self.norm = CellNorm(hidden_dim)
        self.head = nn.Conv2d(hidden_dim, 3 * token_stride**2, 1)
        self.shuffle = nn.PixelShuffle(token_stride)

    def forward(self, latents: Tensor) -> Tensor:
        """Decode latents `[B, D, h, w]` to a maskige `[B, 3, h*f, w*f]`."""
        x = self.stem(latents)
        for block in self.blocks:
            x = block(x)
        return torch.tanh(self.shuffle(self.head(self.norm(x))))


class DiffusersDecoder(nn.Module):
    """The image decoder of diffusers' autoencoders, bounded to [-1, 1] like `PatchDecoder`."""

    def __init__(self, block_channels: tuple[int, ...], depth: int, latent_dim: int) -> None:
        super().__init__()
        from diffusers.models.autoencoders.vae import Decoder  # takes seconds; only this architecture needs it

        self.decoder = Decoder(
            in_channels=latent_dim,
            out_channels=3,
            up_block_types=("UpDecoderBlock2D",) * len(block_channels),
            block_out_channels=block_channels,
            layers_per_block=depth,
            norm_num_groups=8,
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Decode latents `[B, D, h, w]` to a maskige `[B, 3, h*f, w*f]`."""
        return torch.tanh(self.decoder(latents))


def diffusers_coders(token_stride: int, hidden_dim: int, depth: int, latent_dim: int) -> tuple[nn.Module, nn.Module]:
    """Build encoder and decoder from diffusers' blocks; the width halves with each finer resolution."""
    from diffusers.models.autoencoders.vae import Encoder  # see `DiffusersDecoder`

    levels = token_stride.bit_length()  # three resolutions for f = 4
    channels = tuple(max(8, hidden_dim // 2 ** (levels - 1 - level) // 8 * 8) for level in range(levels))
    encoder = Encoder(
        in_channels=3,
        out_channels=latent_dim,
        down_block_types=("DownEncoderBlock2D",) * levels,
        block_out_channels=channels,
        layers_per_block=depth,
        norm_num_groups=8,
        double_z=False,
    )
    return encoder, DiffusersDecoder(channels, depth, latent_dim)
