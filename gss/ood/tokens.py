"""Scores of the tokens and of the classes painted by them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from gss.ood.base import OODScore, ScoreInputs
from gss.ood.entropy import negative_entropy, relative_entropy


class TokenEntropy(OODScore):
    """Entropy of the latent prior p(z | x) relative to its maximum log V."""

    name = "token_entropy"
    needs = frozenset({"tokens"})

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return values in 0..1."""
        if inputs.token_entropy is not None:
            return inputs.token_entropy
        assert inputs.token_logits is not None
        return relative_entropy(inputs.token_logits)


class TokenSurprise(OODScore):
    """-log p(z* | x) of the most probable token, which is painted."""

    name = "token_nll"
    needs = frozenset({"tokens"})

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return nats, at least 0."""
        if inputs.token_surprise is not None:
            return inputs.token_surprise
        assert inputs.token_logits is not None
        return inputs.token_logits.logsumexp(1) - inputs.token_logits.amax(1)


class Disagreement(OODScore):
    """Jensen-Shannon divergence of the classes of the auxiliary head and of the painted tokens."""

    name = "disagreement"
    needs = frozenset({"tokens", "decoded"})

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return nats in 0..log 2, [B, H, W]."""
        assert inputs.decoded is not None
        size = (inputs.decoded.shape[-2], inputs.decoded.shape[-1])
        aux = F.interpolate(inputs.logits, size=size, mode="bilinear").softmax(1)
        mean = (aux + inputs.decoded) / 2
        parts = (negative_entropy(aux) + negative_entropy(inputs.decoded)) / 2
        return (parts - negative_entropy(mean)).clamp(min=0)
