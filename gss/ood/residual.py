"""Scores of the residual pattern head."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from gss.ood.base import OODScore, ScoreInputs
from gss.ood.standardized import smooth


class ResidualEnergy(OODScore):
    """Negative logsumexp of the perturbed logits (Liu et al., 2023)."""

    name = "residual_energy"
    needs = frozenset({"residual"})

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return real numbers, in logits."""
        assert inputs.perturbed is not None
        return -inputs.perturbed.logsumexp(1)


class SmoothResidualEnergy(ResidualEnergy):
    """Residual energy at the resolution of the images, smoothed by a 7x7 Gaussian of standard deviation 1."""

    name = "residual_smooth"

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return real numbers, in logits, [B, H, W]."""
        energy = F.interpolate(super().score(inputs)[:, None], size=inputs.size, mode="bilinear")
        return smooth(energy[:, 0], dilation=1)
