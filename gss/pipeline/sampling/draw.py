"""Random numbers and tokens, drawn item by item so that a batch gives what its items give alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gss.core.errors import InputError

Generators = torch.Generator | Sequence[torch.Generator] | None
"""Random source: one for a whole batch, one for each item, or None for the global one."""


def uniform(generators: Generators, items: int, count: int, device: torch.device) -> Tensor:
    """Return random numbers in [0, 1), float32 `[items, count]`.

    Args:
        generators: with one for each item, the numbers of an item do not depend on the other items.
        items: number of items B.
        count: numbers of each item.
        device: where to put them; they are drawn on the device of the generator.

    Raises:
        InputError: another number of generators than items.
    """
    if generators is None or isinstance(generators, torch.Generator):
        source = device if generators is None else generators.device
        return torch.rand(items, count, generator=generators, device=source, dtype=torch.float32).to(device)
    if len(generators) != items:
        raise InputError(f"generator is a list of {len(generators)}; give one, or one for each of {items} items")
    rows = [
        torch.rand(count, generator=generator, device=generator.device, dtype=torch.float32) for generator in generators
    ]
    return torch.stack(rows).to(device)


def token_probabilities(logits: Tensor, *, temperature: float = 1.0, top_p: float = 1.0) -> Tensor:
    """Return the probabilities `[M, V]` that tokens are drawn with.

    Args:
        logits: `[M, V]`.
        temperature: divisor of the logits; 0 leaves the most probable token only.
        top_p: share of the probability that is kept, the most probable tokens first, in (0, 1].
    """
    if temperature == 0:
        return torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 1.0)
    probabilities = (logits / temperature).softmax(1)
    if top_p < 1:
        ordered, order = probabilities.sort(1, descending=True)
        # A token stays if those before it hold less than the share: the first one always does.
        kept = ordered.cumsum(1) - ordered < top_p
        probabilities = torch.zeros_like(probabilities).scatter_(1, order, ordered * kept)
        probabilities /= probabilities.sum(1, keepdim=True)
    return probabilities


def draw_tokens(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """Draw one token for each row by inversion of the cumulative distribution.

    Args:
        probabilities: `[M, V]`.
        uniforms: `[M]` in [0, 1).

    Returns:
        int64 `[M]`; a token of probability 0 is never drawn.
    """
    cumulative = probabilities.cumsum(1)
    total = cumulative[:, -1:]
    # Rounding may lift u * total to the total, behind the last token with a probability.
    target = torch.minimum(uniforms[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulative, target.contiguous(), right=True)[:, 0]
