"""Fusion of a backbone's feature maps on one grid."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


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


__all__ = ["ChannelNorm", "FeatureFusion"]
