"""Scores of the density head."""

import dataclasses

import torch
from score_checks import D, DensityChecks


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
