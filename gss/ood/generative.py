"""Scores of the generative model: its density head, its tokens, and what it paints."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from gss.ood.base import DensityScore, OODScore, ScoreInputs, register
from gss.ood.logits import relative_entropy


@register
class MixtureMax(DensityScore):
    """-max over all components of log N(x), weighted: GMMSeg's rule."""

    name = "gmm_max"

    def score(self, inputs: ScoreInputs) -> Tensor:
        """In nats."""
        return -self.density.log_likelihood(inputs.features, "max")


@register
class MixtureMarginal(DensityScore):
    """-log p(x), all classes alike."""

    name = "gmm_marginal"

    def score(self, inputs: ScoreInputs) -> Tensor:
        """In nats."""
        return -self.density.log_likelihood(inputs.features, "marginal")


@register
class MixtureClass(DensityScore):
    """-max_c log p(x | c)."""

    name = "gmm_class"

    def score(self, inputs: ScoreInputs) -> Tensor:
        """In nats."""
        return -self.density.log_likelihood(inputs.features, "class")


@register
class MixtureRatio(DensityScore):
    """log p(x | outlier) - log p(x): how much better a mixture of outliers explains the pixel (Nayal et al., 2025)."""

    name = "gmm_ratio"
    needs = frozenset({"density", "outliers"})

    def score(self, inputs: ScoreInputs) -> Tensor:
        """In nats; above 0 the outlier mixture is the likelier."""
        return self.density.log_ratio(inputs.features)


@register
class TokenEntropy(OODScore):
    """Entropy of the latent prior p(z | x) relative to log V: how undecided the model is what to paint."""

    name = "token_entropy"
    needs = frozenset({"tokens"})

    def score(self, inputs: ScoreInputs) -> Tensor:
        """In 0..1."""
        assert inputs.token_logits is not None
        return relative_entropy(inputs.token_logits)


@register
class TokenSurprise(OODScore):
    """-log p(z* | x) of the token that is painted, the most probable one."""

    name = "token_nll"
    needs = frozenset({"tokens"})

    def score(self, inputs: ScoreInputs) -> Tensor:
        """In nats, at least 0."""
        assert inputs.token_logits is not None
        return inputs.token_logits.logsumexp(1) - inputs.token_logits.amax(1)


@register
class Disagreement(OODScore):
    """Jensen-Shannon divergence of the auxiliary head's classes and those of the painted tokens."""

    name = "disagreement"
    needs = frozenset({"tokens", "decoded"})

    def score(self, inputs: ScoreInputs) -> Tensor:
        """In nats, 0..log 2, at the size of the images."""
        assert inputs.decoded is not None
        size = (inputs.decoded.shape[-2], inputs.decoded.shape[-1])
        aux = F.interpolate(inputs.logits, size=size, mode="bilinear").softmax(1)
        mean = (aux + inputs.decoded) / 2
        parts = (_neg_entropy(aux) + _neg_entropy(inputs.decoded)) / 2
        return (parts - _neg_entropy(mean)).clamp(min=0)


def _neg_entropy(probabilities: Tensor) -> Tensor:
    """Sum of p log p over dimension 1, with 0 log 0 = 0."""
    return (probabilities * probabilities.clamp(min=1e-30).log()).sum(1)
