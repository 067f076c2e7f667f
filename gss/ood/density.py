"""Scores of the density head, a Gaussian mixture per class."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from gss.ood.base import DensityScore, ScoreInputs


class MixtureScore(DensityScore):
    """Base of the scores that are log-likelihoods; where several are wanted, one pass computes them all.

    Attributes:
        kind: kind of `GMMDensityHead.log_likelihood`.
    """

    kind: ClassVar[str]
    cellwise = True

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return nats."""
        if len(inputs.wanted & {"gmm_max", "gmm_marginal", "gmm_class"}) < 2:
            return -self.density.log_likelihood(inputs.features, self.kind)
        if not inputs.likelihoods:
            inputs.likelihoods.update(self.density.log_likelihoods(inputs.features))
        return -inputs.likelihoods[self.kind]


class MixtureMax(MixtureScore):
    """-max over all components of log w N(x), the rule of GMMSeg."""

    name = "gmm_max"
    kind = "max"


class MixtureMarginal(MixtureScore):
    """-log p(x), with equal class priors."""

    name = "gmm_marginal"
    kind = "marginal"


class MixtureClass(MixtureScore):
    """-max_c log p(x | c)."""

    name = "gmm_class"
    kind = "class"


class MixtureRatio(DensityScore):
    """log p(x | outlier) - log p(x): how much better a mixture of outliers explains the pixel (Nayal et al., 2025)."""

    name = "gmm_ratio"
    cellwise = True
    needs = frozenset({"density", "outliers"})

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return nats; above 0 the mixture of outliers is more likely."""
        return self.density.log_ratio(inputs.features)
