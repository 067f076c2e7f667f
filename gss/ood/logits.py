"""Scores of the class logits; the usual baselines."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gss.ood.base import FittedScore, OODScore, ScoreInputs, register
from gss.ood.survey import Survey


@register
class MaxSoftmax(OODScore):
    """1 - max_c p(c | x) (Hendrycks and Gimpel, 2017)."""

    name = "msp"

    def score(self, inputs: ScoreInputs) -> Tensor:
        """In 0..1."""
        return 1 - inputs.logits.softmax(1).amax(1)


@register
class MaxLogit(OODScore):
    """-max_c logit (Hendrycks et al., 2022)."""

    name = "max_logit"

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Any real number."""
        return -inputs.logits.amax(1)


@register
class Energy(OODScore):
    """-logsumexp of the logits (Liu et al., 2020)."""

    name = "energy"

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Any real number."""
        return -inputs.logits.logsumexp(1)


@register
class Entropy(OODScore):
    """Entropy of p(c | x) relative to its maximum log K."""

    name = "entropy"

    def score(self, inputs: ScoreInputs) -> Tensor:
        """In 0..1."""
        return relative_entropy(inputs.logits)


def relative_entropy(logits: Tensor) -> Tensor:
    """Entropy of the softmax over dimension 1 of `[B, N, h, w]`, in 0..1."""
    log_p = logits.log_softmax(1)
    return -(log_p.exp() * log_p).sum(1) / math.log(max(2, logits.shape[1]))


@register
class StandardisedMaxLogit(FittedScore):
    """Max-logit in standard deviations of the predicted class, cleaned at boundaries (Jung et al., 2021).

    Class boundaries have small max-logits without being unknown. Pixels near one take, from the outside in, the mean
    of their neighbours that are not; a dilated Gaussian then smooths what is left. Works at the images' resolution.
    """

    name = "sml"
    mean: Tensor
    deviation: Tensor

    @classmethod
    def fit(cls, survey: Survey) -> dict[str, Tensor]:
        """Mean and standard deviation of the max-logit by predicted class; of all where a class is never predicted."""
        count, first, second = survey.logit_moments.unbind(1)
        total = survey.logit_moments.sum(0)
        never = count < 2
        first, second = torch.where(never, total[1], first), torch.where(never, total[2], second)
        count = torch.where(never, total[0], count).clamp(min=1)
        mean = first / count
        deviation = (second / count - mean.square()).clamp(min=1e-8).sqrt()
        return {"mean": mean.float(), "deviation": deviation.float()}

    def score(self, inputs: ScoreInputs) -> Tensor:
        """In standard deviations, at the size of the images."""
        logits = F.interpolate(inputs.logits, size=inputs.size, mode="bilinear")
        largest, predicted = logits.max(1)
        score = -(largest - self.mean[predicted]) / self.deviation[predicted]
        return smooth(suppress_boundaries(score, predicted))


def suppress_boundaries(score: Tensor, predicted: Tensor, *, width: int = 4) -> Tensor:
    """Replaces scores `[B, H, W]` within `width` - 1 pixels of a class boundary by those of the surroundings.

    Args:
        score: float.
        predicted: class of each pixel.
        width: rounds; the region replaced shrinks by one pixel in each, so that values come in from the outside.
    """
    boundary = class_boundaries(predicted)
    score = score[:, None]
    for radius in reversed(range(width)):
        outside = 1 - _grow(boundary, radius)
        padded = F.pad(torch.cat([score * outside, outside], 1), (1, 1, 1, 1), mode="replicate")
        total, count = (9 * F.avg_pool2d(padded, 3, stride=1)).split(1, dim=1)
        # Deep inside a region narrower than its boundary there is no neighbour to ask: the score stays.
        score = torch.where((outside == 0) & (count > 0.5), total / count.clamp(min=1), score)
    return score[:, 0]


def class_boundaries(predicted: Tensor) -> Tensor:
    """1 where a pixel's surroundings show several classes, else 0; float `[B, 1, H, W]`."""
    classes = predicted[:, None].float()
    return (_grow(classes, 1) != -F.max_pool2d(-classes, 3, 1, 1)).float()


def _grow(values: Tensor, radius: int) -> Tensor:
    """Maximum over all pixels within `radius` in city-block distance."""
    for _ in range(radius):
        across = F.max_pool2d(values, (1, 3), 1, (0, 1))
        values = torch.maximum(across, F.max_pool2d(values, (3, 1), 1, (1, 0)))
    return values


def smooth(score: Tensor, *, size: int = 7, sigma: float = 1.0, dilation: int = 6) -> Tensor:
    """Dilated Gaussian blur of `[B, H, W]` with replicated borders."""
    offsets = torch.arange(size, dtype=score.dtype, device=score.device) - size // 2
    kernel = (-0.5 * (offsets / sigma).square()).exp()
    kernel = kernel / kernel.sum()
    pad = size // 2 * dilation
    x = F.pad(score[:, None], (pad, pad, pad, pad), mode="replicate")
    x = F.conv2d(x, kernel.view(1, 1, -1, 1), dilation=dilation)
    return F.conv2d(x, kernel.view(1, 1, 1, -1), dilation=dilation)[:, 0]


@register
class ResidualEnergy(OODScore):
    """-logsumexp of the perturbed logits (Liu et al., 2023)."""

    name = "residual_energy"
    needs = frozenset({"residual"})

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Any real number."""
        assert inputs.perturbed is not None
        return -inputs.perturbed.logsumexp(1)


@register
class SmoothResidualEnergy(ResidualEnergy):
    """The residual energy at the images' resolution, smoothed by a 7x7 Gaussian of standard deviation 1."""

    name = "residual_smooth"

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Any real number, at the size of the images."""
        energy = F.interpolate(super().score(inputs)[:, None], size=inputs.size, mode="bilinear")
        return smooth(energy[:, 0], dilation=1)
