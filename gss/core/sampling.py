"""Random choices of pixels that depend neither on the order of pixels nor on the process that reads them.

Every pixel has a random number, its key, drawn by image; those with the smallest keys are taken. The choice is then a
function of the seed and the images, and the same on one process as on several.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gss.core import distributed

Smallest = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]


def evenly_spaced(count: int, limit: int | None = None) -> list[int]:
    """Return at most `limit` of `count` indices, evenly spaced; all of them without a limit."""
    if limit is None or limit >= count:
        return list(range(count))
    return np.linspace(0, count - 1, limit).astype(int).tolist()


def random_keys(count: int, *seeds: int) -> Tensor:
    """Return random numbers in (0, 1), float64 `[count]` on the CPU: a function of the seeds, whole numbers from 0."""
    keys = np.random.default_rng(list(seeds)).random(count)
    return torch.from_numpy(keys).clamp_(min=torch.finfo(torch.float64).tiny)


def balanced_sample(classes: Tensor, per_class: int, num_classes: int, keys: Tensor) -> Tensor:
    """Return indices `[n]` of the at most `per_class` entries of each class with the smallest keys.

    Args:
        classes: int64 `[N]`; entries outside 0..num_classes-1 (void) are never taken.
        per_class: largest number of entries of a class.
        num_classes: number of classes C.
        keys: random numbers `[N]`, see `random_keys`.
    """
    valid = ((classes >= 0) & (classes < num_classes)).nonzero()[:, 0]
    by_key = valid[keys[valid].argsort(stable=True)]
    ordered, order = classes[by_key].sort(stable=True)
    counts = torch.bincount(ordered, minlength=num_classes)
    rank = torch.arange(len(ordered), device=classes.device) - (counts.cumsum(0) - counts)[ordered]
    return by_key[order[rank < per_class]]


def balanced_sample_across(classes: Tensor, per_class: int, num_classes: int, keys: Tensor) -> Tensor:
    """Return this process's share of the `balanced_sample` over all processes; only keys are exchanged."""
    chosen = balanced_sample(classes, per_class, num_classes, keys)
    if distributed.num_processes() == 1:
        return chosen
    own, counts = classes[chosen], torch.bincount(classes[chosen], minlength=num_classes)
    rank = torch.arange(len(own), device=own.device) - (counts.cumsum(0) - counts)[own]
    table = keys.new_full((num_classes, per_class), math.inf)
    table[own, rank] = keys[chosen]
    last = _stacked(table).movedim(0, 1).flatten(1).sort(1).values[:, per_class - 1]
    return chosen[keys[chosen] <= last[own]]


def smallest(values: Tensor, rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the at most `count` smallest values of `[N]`, ascending, and their rows of `[N, D]`."""
    found = values.topk(min(count, len(values)), largest=False)
    return found.values, rows[found.indices]


def smallest_across(values: Tensor, rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return `smallest` over the values of all processes, the same on each; only chosen rows are exchanged."""
    values, rows = smallest(values, rows, count)
    if distributed.num_processes() == 1:
        return values, rows
    keys, table = values.new_full((count,), math.inf), rows.new_zeros(count, rows.shape[1])
    keys[: len(values)], table[: len(rows)] = values, rows
    present = keys.new_zeros(count)
    present[: len(values)] = 1
    there = _stacked(present).flatten() > 0
    return smallest(_stacked(keys).flatten()[there], _stacked(table).flatten(0, 1)[there], count)


def max_across(values: Tensor) -> Tensor:
    """Return the largest values over processes."""
    return values if distributed.num_processes() == 1 else _stacked(values).amax(0)


def _stacked(values: Tensor) -> Tensor:
    """Return the tensors of one shape of all processes `[P, ...]`, by a sum."""
    rows = values.new_zeros(distributed.num_processes(), *values.shape)
    # Infinity times zero is no number, but added to zero it stays what it is.
    rows[distributed.process_index()] = values
    return distributed.sum_across(rows)
