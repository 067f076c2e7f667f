"""Scores of the class logits, the usual baselines."""

from __future__ import annotations

from torch import Tensor

from gss.ood.base import OODScore, ScoreInputs
from gss.ood.entropy import relative_entropy


class MaxSoftmax(OODScore):
    """1 - max_c p(c | x) (Hendrycks and Gimpel, 2017)."""

    name = "msp"

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return values in 0..1."""
        return 1 - inputs.logits.softmax(1).amax(1)


class MaxLogit(OODScore):
    """-max_c logit (Hendrycks et al., 2022)."""

    name = "max_logit"

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return real numbers, in logits."""
        return -inputs.logits.amax(1)


class Energy(OODScore):
    """-logsumexp of the logits (Liu et al., 2020)."""

    name = "energy"

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return real numbers, in logits."""
        return -inputs.logits.logsumexp(1)


class Entropy(OODScore):
    """Entropy of p(c | x) relative to its maximum log K."""

    name = "entropy"

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return values in 0..1."""
        return relative_entropy(inputs.logits)
