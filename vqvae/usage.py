"""Usage of a codebook: how many codes occur, and how evenly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class CodebookUsage(Metric):
    """Usage of V codes, summed over processes.

    Args:
        codebook_size: number of codes V.
        options: arguments of `torchmetrics.Metric`.
    """

    counts: Tensor

    is_differentiable = False
    full_state_update = False

    def __init__(self, codebook_size: int, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("counts", torch.zeros(codebook_size, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, indices: Tensor) -> None:
        """Count int64 `indices` of any shape."""
        self.counts += torch.bincount(indices.flatten(), minlength=len(self.counts))

    def compute(self) -> dict[str, float]:
        """Return perplexity (1..V), share of dead codes, and share of tokens taken by the most frequent code."""
        share = self.counts.double() / self.counts.sum().clamp(min=1)
        entropy = -(share * share.clamp(min=1e-12).log()).sum()
        return {
            "perplexity": entropy.exp().item(),
            "dead_codes": (self.counts == 0).double().mean().item(),
            "dominant_code": share.max().item(),
        }
