"""Scores of the density head, a Gaussian mixture per class."""

from __future__ import annotations

from torch import Tensor

from gss.ood.base import DensityScore, ScoreInputs


class MixtureMax(DensityScore):
    """-max over all components of log w N(x), the rule of GMMSeg."""

    name = "gmm_max"
    cellwise = True

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return nats."""
        return -self.density.log_likelihood(inputs.features, "max")


class MixtureMarginal(DensityScore):
    """-log p(x), with equal class priors."""

    name = "gmm_marginal"
    cellwise = True

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return nats."""
        return -self.density.log_likelihood(inputs.features, "marginal")


class MixtureClass(DensityScore):
    """-max_c log p(x | c)."""

    name = "gmm_class"
    cellwise = True

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return nats."""
        return -self.density.log_likelihood(inputs.features, "class")


class MixtureRatio(DensityScore):
    """log p(x | outlier) - log p(x): how much better a mixture of outliers explains the pixel (Nayal et al., 2025)."""

    name = "gmm_ratio"
    cellwise = True
    needs = frozenset({"density", "outliers"})

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return nats; above 0 the mixture of outliers is more likely."""
        return self.density.log_ratio(inputs.features)
