"""Health of a codebook: how many codes live, and how evenly they are used."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class CodebookUsage(Metric):
    """Streaming usage statistics of V codes, summed over processes.

    Args:
        codebook_size: number of codes V.
    """

    counts: Tensor

    def __init__(self, codebook_size: int) -> None:
        super().__init__()
        self.add_state("counts", torch.zeros(codebook_size, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, indices: Tensor) -> None:
        """Counts int64 `indices` of any shape."""
        self.counts += torch.bincount(indices.flatten(), minlength=len(self.counts))

    def compute(self) -> dict[str, float]:
        """Perplexity (1..V), share of dead codes, and share of tokens taken by the most frequent code."""
        share = self.counts.double() / self.counts.sum().clamp(min=1)
        entropy = -(share * share.clamp(min=1e-12).log()).sum()
        return {
            "perplexity": entropy.exp().item(),
            "dead_codes": (self.counts == 0).double().mean().item(),
            "dominant_code": share.max().item(),
        }
