"""Weighted sums of scores."""

import dataclasses

import torch
from ood_toys import density_head
from score_checks import ScoreChecks, score_inputs

from gss.ood import FittedScores, build_score
from gss.ood.combined import combination_weights, stack_scores


class TestCombined(ScoreChecks):
    name = "combined"
    added = ("energy", "entropy")

    def fitted(self, scores):
        rows = stack_scores(scores, score_inputs(seed=4)).flatten(0, 2).double()
        tensors = combination_weights(rows.mean(0), rows.t() @ rows / len(rows))
        return FittedScores.from_tensors({self.name: tensors}, self.added)

    def parts(self):
        return {"fitted": self.fitted([build_score(name) for name in self.added])}

    def unusual(self, inputs):
        return dataclasses.replace(inputs, logits=inputs.logits / 10, perturbed=inputs.perturbed / 10, computed={})

    def reference(self, inputs):
        parts = self.parts()
        values = stack_scores([build_score(name, **parts) for name in self.added], inputs).double()
        tensors = {key: value.double() for key, value in parts["fitted"].tensors(self.name).items()}
        return ((values - tensors["mean"]) / tensors["deviation"] * tensors["weight"]).sum(-1)


class TestResidualDensity(TestCombined):
    name, added = "residual_gmm", ("residual_energy", "gmm_class")

    def parts(self):
        torch.manual_seed(3)
        heads = {"density": density_head(), "residual": True}
        return heads | {"fitted": self.fitted([build_score(name, **heads) for name in self.added])}


class TestResidualRatio(TestResidualDensity):
    name, added = "residual_ratio", ("residual_energy", "gmm_ratio")


def test_equal_scores_share_their_weight_and_constant_ones_have_none():
    z = torch.randn(5000, 2, dtype=torch.float64)
    scores = torch.stack([10 * z[:, 0] + 3, 10 * z[:, 0] + 3, z[:, 1], torch.full_like(z[:, 0], 7.0)], 1)
    weight = combination_weights(scores.mean(0), scores.t() @ scores / len(scores))["weight"]
    assert weight[3] == 0 and torch.allclose(weight[:3], torch.tensor([0.25, 0.25, 0.5]), atol=0.02)
