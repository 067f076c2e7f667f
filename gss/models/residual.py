"""Residual pattern head: a small branch beside a frozen prior that changes its logits where something is unknown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config

# A pipeline looks the base class of a component up in the component's own module when it loads it.
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

from gss.core.errors import InputError, quoted
from gss.models.layers import ChannelNorm, FeatureFusion, enlarge
from gss.models.prior import GSSPriorModel, GSSPriorOutput

TARGETS = ("pixel", "token")


class ResidualPatternHead(ModelMixin, ConfigMixin):
    """Second context path; its residual is added to the features that the prior's classifiers read (RPL).

    The deepest maps of the backbone are fused, convolved at several dilations, mixed, and projected to the channels of
    the features; the residual is enlarged last. The prior's classifiers stay frozen and its predictions never use the
    residual, so they keep every bit. The projection starts at zero, so a new head changes nothing.

    Args:
        in_channels: channels of the backbone's last maps, which are read.
        feature_dim: D, channels of the prior's features.
        width: channels of the branch.
        rates: dilations of the parallel depthwise convolutions.
        target: "pixel" perturbs the logits of the auxiliary pixel head, "token" those of the tokens.

    Raises:
        InputError: an argument is out of range.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: Sequence[int] = (40, 112, 320),
        feature_dim: int = 128,
        width: int = 128,
        rates: Sequence[int] = (1, 2, 4),
        target: str = "pixel",
    ) -> None:
        super().__init__()
        if target not in TARGETS:
            raise InputError(f"target={quoted(target)} must be one of {', '.join(TARGETS)}")
        for name, numbers in (
            ("in_channels", in_channels),
            ("feature_dim", [feature_dim]),
            ("width", [width]),
            ("rates", rates),
        ):
            if not numbers or min(numbers) < 1:
                raise InputError(f"{name}={numbers} must hold at least one number, each of at least 1")
        self.fusion = FeatureFusion(in_channels, width)
        self.branches = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=rate, dilation=rate, groups=width, bias=False) for rate in rates
        )
        total = width * (1 + len(rates))
        self.mix = nn.Sequential(nn.Conv2d(total, width, 1), ChannelNorm(width), nn.GELU())
        # Without bias: it commutes with interpolation, and "no change" is a single point.
        self.projection = nn.Conv2d(width, feature_dim, 1, bias=False)
        nn.init.zeros_(self.projection.weight)

    @torch.no_grad()
    def copy_fusion(self, fusion: FeatureFusion) -> bool:
        """Copy the prior's fusion of the same levels as a start.

        Returns:
            False if the widths differ, and nothing was copied.
        """
        levels = len(self.config["in_channels"])
        if fusion.mix[1].weight.shape != self.fusion.mix[1].weight.shape:
            return False
        self.fusion.projections.load_state_dict(fusion.projections[-levels:].state_dict())
        self.fusion.norms.load_state_dict(fusion.norms[-levels:].state_dict())
        self.fusion.mix.load_state_dict(fusion.mix.state_dict())
        return True

    def context(self, maps: Sequence[Tensor], grid: tuple[int, int]) -> Tensor:
        """Return the features of the branch in front of its projection.

        Args:
            maps: `[B, C_i, h_i, w_i]` of the backbone; the last ones are read.
            grid: cells (h, w) of the padded image; the result is never finer.

        Returns:
            `[B, width, h', w']`, on the grid of the finest map that is read.
        """
        dtype = self.projection.weight.dtype
        read = [x.to(dtype) for x in maps[-len(self.config["in_channels"]) :]]
        size = tuple(min(max(x.shape[axis] for x in read), cells) for axis, cells in zip((-2, -1), grid, strict=True))
        x = self.fusion(read, cast(tuple[int, int], size))
        return self.mix(torch.cat([x, *(branch(x) for branch in self.branches)], 1))

    def forward(self, maps: Sequence[Tensor], grid: tuple[int, int]) -> Tensor:
        """Return the residual before it is enlarged, `[B, D, h', w']`; arguments as in `context`."""
        return self.projection(self.context(maps, grid))


def perturbed_logits(
    prior: GSSPriorModel, residual: ResidualPatternHead, output: GSSPriorOutput, *, context: Tensor | None = None
) -> Tensor:
    """Classify the prior's features plus the residual.

    Args:
        prior: network that gave `output`.
        residual: branch to add.
        output: features, maps and, for the target "pixel", class logits. Missing token logits are computed if needed.
        context: result of `residual.context`, if known already.

    Returns:
        float32 class logits `[B, K, h, w]` or token logits `[B, V, h, w]`, by the target. Token logits are shifted so
        that their logsumexp without the residual is log V: the level itself says how well any code fits the cell,
        which is low at every boundary; only its change is of interest.
    """
    features, stride = cast(Tensor, output.features), prior.config.token_stride
    h, w = features.shape[-2:]
    grid = prior.padded_grid(h * stride, w * stride)
    if context is None:
        context = residual.context(cast(tuple[Tensor, ...], output.maps), grid)
    shift = residual.projection(context)
    if residual.config["target"] == "pixel":
        # The head is linear and commutes with interpolation as well: K channels are enlarged instead of D.
        change = F.conv2d(shift, prior.aux_head.weight.to(shift.dtype))
        return cast(Tensor, output.aux_logits).float() + enlarge(change.float(), grid)[..., :h, :w]
    shifted = features + enlarge(shift, grid)[..., :h, :w].to(features.dtype)
    logits = cast(Tensor, prior.read_features(shifted).token_logits).float()
    plain = prior.read_features(features).token_logits if output.token_logits is None else output.token_logits
    level = cast(Tensor, plain).float().logsumexp(1, keepdim=True)
    return logits - level + math.log(logits.shape[1])
