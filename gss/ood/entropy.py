"""Entropies of class and token distributions."""

from __future__ import annotations

import math

from torch import Tensor


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy of the softmax over dimension 1 in nats, float32 [B, h, w], from logits [B, N, h, w]."""
    log_p = logits.float().log_softmax(1)
    return -(log_p.exp() * log_p).sum(1)


def relative_entropy(logits: Tensor) -> Tensor:
    """Return the entropy divided by its maximum log N, float32 [B, h, w] in 0..1, from logits [B, N, h, w]."""
    return entropy(logits) / math.log(max(2, logits.shape[1]))


def negative_entropy(probabilities: Tensor) -> Tensor:
    """Return the sum of p log p over dimension 1, with 0 log 0 = 0, [B, h, w] from [B, N, h, w]."""
    return (probabilities * probabilities.clamp(min=1e-30).log()).sum(1)
