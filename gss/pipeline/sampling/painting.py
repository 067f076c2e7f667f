"""Masks of drawn tokens, their mean, and how far they differ."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from gss.pipeline.windows import resize_map, resized_strips
from gss.posterior.likelihood import CellLikelihood


@dataclass(frozen=True)
class Painted:
    """n masks of one image at its original size.

    Attributes:
        masks: uint8 `[n, H, W]`.
        probabilities: float32 `[K, H, W]`, mean of the class probabilities.
        information: float32 `[H, W]`, mutual information of class and hypothesis in nats.
    """

    masks: Tensor
    probabilities: Tensor
    information: Tensor


def cell_probabilities(likelihood: CellLikelihood, tokens: Tensor) -> Tensor:
    """Return the class probabilities `[K, h*f, w*f]` that tokens `[h, w]` stand for."""
    return rearrange(likelihood.table.float()[tokens], "h w k i j -> k (h i) (w j)")


def paint(
    likelihood: CellLikelihood,
    tokens: Tensor,
    *,
    content_size: tuple[int, int],
    original_size: tuple[int, int],
) -> Painted:
    """Paint drawn tokens.

    Args:
        likelihood: code table.
        tokens: int64 `[n, h, w]`.
        content_size: (H, W) that the model ran at, without padding.
        original_size: (H, W) of the masks.
    """
    masks = torch.empty(len(tokens), *original_size, dtype=torch.uint8, device=tokens.device)
    total: Tensor | None = None
    entropy: Tensor | None = None
    for number, grid in enumerate(tokens):
        # 1. Class probabilities of one hypothesis, [K, H, W] at the size the model ran at.
        probabilities = cell_probabilities(likelihood, grid)[:, : content_size[0], : content_size[1]]

        # 2. Its mask at the original size.
        for rows, strip in resized_strips(probabilities, original_size):
            masks[number, rows] = strip.argmax(0).to(torch.uint8)

        # 3. Sums of probabilities and of entropies.
        surprise = torch.special.entr(probabilities).sum(0)
        total = probabilities if total is None else total + probabilities
        entropy = surprise if entropy is None else entropy + surprise
    assert total is not None and entropy is not None
    mean = total / len(tokens)
    information = (torch.special.entr(mean).sum(0) - entropy / len(tokens)).clamp(min=0)
    return Painted(
        masks=masks,
        probabilities=resize_map(mean, original_size),
        information=resize_map(information[None], original_size)[0],
    )
