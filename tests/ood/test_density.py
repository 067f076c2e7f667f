"""Scores of the density head."""

import dataclasses

import torch
from ood_toys import density_head
from score_checks import D, DensityChecks, score_inputs

from gss.models.density import GMMDensityHead
from gss.ood import build_score


class TestMixtureMax(DensityChecks):
    name = "gmm_max"

    def reference(self, inputs):
        return -self.components(inputs).amax((1, 2))

    def components(self, inputs):
        """Return log w N(x) of every component by torch.distributions, [B * h * w, C, M]."""
        density = self.parts()["density"]
        x = density.embed(inputs.features).double().flatten(0, 2)
        normal = torch.distributions.Normal(density.means.double(), density.variances.double().sqrt())
        return normal.log_prob(x[:, None, None]).sum(-1) + density.log_weights.double()


def test_several_scores_are_computed_in_one_pass(monkeypatch):
    head = density_head()
    scores = {name: build_score(name, density=head) for name in ("gmm_max", "gmm_marginal", "gmm_class")}
    inputs = score_inputs()
    alone = {name: score(dataclasses.replace(inputs, computed={})) for name, score in scores.items()}
    passes = []
    form = GMMDensityHead.form
    monkeypatch.setattr(GMMDensityHead, "form", lambda head: passes.append(head) or form(head))
    together = dataclasses.replace(inputs, computed={}, likelihoods={}, wanted=frozenset(scores))
    for name, score in scores.items():
        torch.testing.assert_close(score(together), alone[name], atol=1e-4, rtol=1e-5)
    assert len(passes) == 1
    coarse = torch.randn(3, D, 4, 5)
    alone = {
        name: score(dataclasses.replace(inputs, computed={}, coarse=coarse, ratio=2)) for name, score in scores.items()
    }
    together = dataclasses.replace(together, computed={}, likelihoods={}, coarse=coarse, ratio=2)
    for name, score in scores.items():
        torch.testing.assert_close(score(together), alone[name], atol=1e-4, rtol=1e-5)


class TestMixtureMarginal(TestMixtureMax):
    name = "gmm_marginal"

    def reference(self, inputs):
        by_class = self.components(inputs).logsumexp(2)
        return -(by_class.logsumexp(1) - by_class.new_tensor(by_class.shape[1]).log())


class TestMixtureClass(TestMixtureMax):
    name = "gmm_class"

    def reference(self, inputs):
        return -self.components(inputs).logsumexp(2).amax(1)


class TestMixtureRatio(DensityChecks):
    name = "gmm_ratio"

    def unusual(self, inputs):
        """Return inputs whose features are means of the mixture of outliers."""
        means = self.parts()["density"].outlier_means
        features = means[0].view(1, D, 1, 1).expand_as(inputs.features)
        return dataclasses.replace(inputs, features=features, computed={})
