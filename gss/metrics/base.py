"""The base of all metrics: integer counts that add up exactly over images, objects and processes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor
from torchmetrics import Metric

from gss.core.distributed import gather_objects, num_processes, sum_across
from gss.core.errors import InputError


class CountMetric(Metric):
    """Metric whose states are integers that add up.

    Any order of the images and any split of them over updates, objects and processes gives bit-identical results. As a
    `torchmetrics.Metric` it works in a `MetricCollection` and in any training loop: `compute` is about the images of
    all processes and leaves the counts of each process as they are, `reset` starts again. With
    `sync_on_compute=False`, `compute` is about the images of this process.

    Args:
        settings: values that the counts depend on, by name. Metrics with other settings are not merged.
        options: arguments of `torchmetrics.Metric`.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, settings: dict[str, Any], options: dict[str, Any]) -> None:
        super().__init__(**{"distributed_available_fn": _several_processes, **options})
        self.settings = settings
        # A collection shares the states of metrics that are equal after the first batch. This empty state has a name
        # that differs with the settings, so that metrics with different settings are never shared.
        self.add_counts(f"settings of {type(self).__name__}: {settings}", 0)

    def add_counts(self, name: str, *shape: int) -> None:
        """Add an int64 state of zeros that is summed over processes."""
        self.add_state(name, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def counts(self) -> dict[str, Tensor]:
        """Return the states by name."""
        return {name: state for name, state in self.metric_state.items() if not name.startswith("settings of ")}

    def merge(self, other: Self) -> None:
        """Add the counts of another object, as if its images had been counted here.

        Raises:
            ValueError: the other object has other settings.
        """
        if self.settings != other.settings:
            raise InputError(f"cannot merge metrics with {other.settings} into metrics with {self.settings}")
        self.merge_state(other)

    def sum_across(self) -> None:
        """Replace the counts by their sum over all processes; call it once on each process, after the last update."""
        self.sync()

    def _sync_dist(self, dist_sync_fn: Callable[..., Any] | None = None, process_group: Any | None = None) -> None:
        group = process_group or self.process_group
        # Processes that accelerate does not know of belong to a group that the caller has opened.
        known = group is None and num_processes() > 1
        for name in self._defaults:
            state = getattr(self, name)
            if isinstance(state, list):
                rows = [row.cpu() for row in state]
                parts = gather_objects(rows) if known else _gather(rows, group)
                setattr(self, name, [row.to(self.device) for part in parts for row in part])
            elif state.numel():
                setattr(self, name, sum_across(state) if known else _sum(state, group))

    def _wrap_compute(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap `compute` as torchmetrics does, for results that may be frozen dataclasses and depend on arguments."""

        @functools.wraps(compute)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            summed = self._is_synced
            with self.sync_context(
                should_sync=self._to_sync and not summed, should_unsync=self._should_unsync and not summed
            ):
                return compute(*args, **kwargs)

        return wrapped


def _several_processes() -> bool:
    return num_processes() > 1 or (torch.distributed.is_available() and torch.distributed.is_initialized())


def _sum(tensor: Tensor, group: Any) -> Tensor:
    total = tensor.clone()
    torch.distributed.all_reduce(total, group=group)
    return total


def _gather(rows: list[Tensor], group: Any) -> list[list[Tensor]]:
    parts: list[Any] = [None] * torch.distributed.get_world_size(group)
    torch.distributed.all_gather_object(parts, rows, group=group)
    return parts
