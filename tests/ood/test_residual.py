"""Scores of the residual pattern head."""

import dataclasses

import torch
from score_checks import ScoreChecks
from torch.nn import functional as F


class TestResidualEnergy(ScoreChecks):
    name = "residual_energy"

    def parts(self):
        return {"residual": True}

    def unusual(self, inputs):
        return dataclasses.replace(inputs, perturbed=inputs.perturbed / 10, computed={})

    def reference(self, inputs):
        return -inputs.perturbed.double().exp().sum(1).log()


class TestSmoothResidualEnergy(TestResidualEnergy):
    name, full_size = "residual_smooth", True

    def reference(self, inputs):
        energy = super().reference(inputs)[:, None]
        energy = F.interpolate(energy, size=inputs.size, mode="bilinear")
        kernel = torch.exp(-0.5 * torch.arange(-3.0, 4.0, dtype=torch.float64) ** 2)
        kernel = kernel[:, None] * kernel / kernel.sum() ** 2
        return F.conv2d(F.pad(energy, (3, 3, 3, 3), mode="replicate"), kernel[None, None])[:, 0]
