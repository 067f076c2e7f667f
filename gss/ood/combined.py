"""Weighted sums of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gss.ood.base import OODScore, ScoreInputs


class Combined(OODScore):
    """Weighted sum of scores, each in standard deviations of the training data.

    The weights are those of the best linear detector of a change that moves every score by the same number of
    standard deviations: R^-1 1, with R the correlations on the training data and negative weights set to 0. Equal
    scores share their weight. No outliers are needed.

    Args:
        parts: scores to add up.
        tensors: `mean`, `deviation` and `weight`, float32 [S] each.
    """

    name = "combined"
    needs = frozenset({"fit"})
    fixed_parts: ClassVar[tuple[str, ...]] = ()  # parts of a sub-class, instead of those that were fitted
    mean: Tensor
    deviation: Tensor
    weight: Tensor

    def __init__(self, parts: Sequence[OODScore], tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.scores = nn.ModuleList(parts)
        self.needs = frozenset().union(*(part.needs for part in parts)) | {"fit"}
        for key, value in tensors.items():
            self.register_buffer(key, value)

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return standard deviations, [B, h, w] on the grid of the logits."""
        z = (stack_scores(list(self.scores), inputs) - self.mean) / self.deviation
        return (z * self.weight).sum(-1)


class ResidualDensity(Combined):
    """Sum of the residual energy, which was trained with outliers, and the score of the density head."""

    name = "residual_gmm"
    needs = frozenset({"fit", "residual", "density"})
    fixed_parts = ("residual_energy", "gmm_class")


class ResidualRatio(Combined):
    """Sum of the residual energy and the likelihood ratio of the mixtures of outliers and inliers."""

    name = "residual_ratio"
    needs = frozenset({"fit", "residual", "density", "outliers"})
    fixed_parts = ("residual_energy", "gmm_ratio")


def stack_scores(scores: Sequence[OODScore] | Sequence[nn.Module], inputs: ScoreInputs) -> Tensor:
    """Return S scores on the grid of the logits, float32 [B, h, w, S]."""
    grid = inputs.logits.shape[-2:]
    maps = []
    for score in scores:
        assert isinstance(score, OODScore)
        values = score(inputs)
        if values.shape[-2:] != grid:
            values = F.interpolate(values[:, None], size=grid, mode="bilinear", antialias=True)[:, 0]
        maps.append(values)
    return torch.stack(maps, -1)


def combination_weights(mean: Tensor, second: Tensor) -> dict[str, Tensor]:
    """Return the tensors of `Combined`.

    Args:
        mean: float64 [S], mean of the scores on training data.
        second: float64 [S, S], mean of their outer product.
    """
    covariance = second - mean[:, None] * mean
    deviation = covariance.diagonal().clamp(min=0).sqrt()
    usable = deviation > 1e-9 * mean.abs().clamp(min=1e-9)
    scale = torch.where(usable, deviation, 1)
    correlation = covariance / (scale[:, None] * scale)
    # A small multiple of the identity: the correlations of two equal scores have no inverse.
    correlation = torch.where(usable[:, None] & usable, correlation, 0) + 1e-3 * torch.eye(len(mean)).to(mean)
    correlation.diagonal().clamp_(min=1)
    weight = torch.linalg.solve(correlation, usable.to(mean)).clamp(min=0) * usable
    weight = weight / weight.sum().clamp(min=1e-12)
    return {"mean": mean.float(), "deviation": scale.float(), "weight": weight.float()}
