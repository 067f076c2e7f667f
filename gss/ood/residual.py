"""Scores of the residual pattern head."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from gss.ood.base import OODScore, ScoreInputs, register
from gss.ood.logits import smooth


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
