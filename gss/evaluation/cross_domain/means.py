"""Means over test sets and over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from statistics import stdev
from typing import Any

from gss.core.records import Record
from gss.evaluation.cross_domain.result import METRIC_TITLES, WAYS, CellResult, Spread, Summary, Transfer
from gss.metrics.means import mean


def transfer(values: Mapping[str, float | None], in_domain: str | None) -> Transfer[float | None]:
    """Return the means of one metric over test sets.

    Args:
        values: metric by test set.
        in_domain: test set like the training data, if there is one.
    """
    inside = values.get(in_domain) if in_domain is not None else None
    outside = [value for name, value in values.items() if name != in_domain]
    away = mean(outside)
    drop = None if inside is None or away is None else inside - away
    return Transfer(
        mean=mean(values.values()),
        harmonic=harmonic(list(values.values())),
        away=away,
        away_harmonic=harmonic(outside),
        drop=drop,
        relative_drop=drop / inside if drop is not None and inside else None,
    )


def harmonic(values: Sequence[float | None]) -> float | None:
    """Return the harmonic mean of the values that are not `None`: 0 with a 0 among them, `None` without any."""
    present = [value for value in values if value is not None]
    if not present or min(present) <= 0:
        return 0.0 if present else None
    return len(present) / sum(1 / value for value in present)


def summarize(cells: Mapping[str, CellResult[float | None]], in_domain: str | None) -> Summary[float | None]:
    """Return the means over test sets of one pipeline.

    Args:
        cells: results by test set.
        in_domain: test set like the training data, if there is one.
    """
    modes = next(iter(cells.values())).modes

    def values(mode: str, way: str, metric: str) -> dict[str, float | None]:
        return {name: cell.modes[mode][way][metric] for name, cell in cells.items()}

    return {
        mode: {
            way: {metric: transfer(values(mode, way, metric), in_domain) for metric in METRIC_TITLES} for way in WAYS
        }
        for mode in modes
    }


def over_seeds(values: Sequence[Any]) -> Any:
    """Return the same structure with every number replaced by its `Spread` over the seeds.

    Args:
        values: one structure of records, dicts, lists, numbers and `None` per seed. Keys of dicts that not all seeds
            have are left out.
    """
    first = values[0]
    if isinstance(first, Record):
        return type(first)(**{part.name: over_seeds([value[part.name] for value in values]) for part in fields(first)})  # type: ignore[arg-type]
    if isinstance(first, dict):
        return {key: over_seeds([value[key] for value in values]) for key in first if all(key in v for v in values)}
    if any(isinstance(value, list) for value in values):
        return [over_seeds(list(parts)) for parts in zip(*(v for v in values if v is not None), strict=True)]
    numbers = [value for value in values if value is not None]
    return Spread(mean(numbers), stdev(numbers) if len(numbers) > 1 else None)
