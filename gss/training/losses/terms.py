"""Losses of the user's own on the class logits of a prior."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from gss.core.errors import InputError
from gss.core.lookup.plugins import find_plugin

Term = Callable[[Tensor, Tensor], Tensor]
"""Class logits float32 `[B, K, h, w]` and labels int64 `[B, H, W]`, 255 where void, to a scalar."""


def find_terms(weights: Mapping[str, float]) -> dict[str, tuple[float, Term]]:
    """Return the weight and the function of each loss term.

    Args:
        weights: `module:Name` of a function, or of a class that is called without arguments and gives one, or the name
            of an entry point, to its weight.

    Returns:
        Name in the log (the part behind the colon) to weight and function.

    Raises:
        InputError: a name stands for nothing that can be called, two terms have one name, or a weight is negative.
    """
    terms: dict[str, tuple[float, Term]] = {}
    for reference, weight in weights.items():
        found = find_plugin(reference, "losses")
        if found is None:
            raise InputError(f"loss.terms: {reference!r} is no loss; write module:Name, see docs/extending")
        term = found() if isinstance(found, type) else found
        if not callable(term):
            raise InputError(f"loss.terms: {reference} cannot be called with class logits and labels")
        if weight < 0:
            raise InputError(f"loss.terms: the weight of {reference} is {weight}; it must be 0 or more")
        name = reference.rpartition(":")[2]
        if name in terms:
            raise InputError(f"loss.terms: two terms are called {name}; rename one")
        terms[name] = float(weight), term
    return terms
