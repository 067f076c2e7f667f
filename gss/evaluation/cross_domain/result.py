"""What `gss.evaluation.cross_domain.evaluate` found: means, drops and the spread over seeds."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from statistics import stdev
from typing import Any

from PIL import Image

from gss.core.files import write_json
from gss.evaluation.cross_domain.counts import WAYS
from gss.metrics.means import mean

# Key of a figure of a decode mode -> name in tables.
FIGURES = {
    "miou": "mIoU",
    "miou_common": "mIoU, common classes",
    "miou_all": "mIoU, all classes",
    "boundary_f": "boundary F",
    "ece": "ECE",
}


@dataclasses.dataclass
class CrossDomainResult:
    """What `evaluate_cross_domain` found; the same on every process, except that only the main one has pictures.

    Attributes:
        data: By test set: `images`, `classes`, `colors`.
        common: The classes that all pipelines and test sets tell apart; empty without any.
        pipelines: By pipeline: `group`; `thresholds` by test set and score; `cells` by test set; and `summary`, mode
            to way of mapping (`probabilities`, `hard`) to figure to what `transfer` gives. A cell has `modes`, mode to
            way of mapping to `miou`, `miou_common`, `miou_all`, `boundary_f`, `ece`, `accuracy`, `iou`, `iou_all`,
            `iou_common`; and `alarms` and `alarms_foreign`, score to share of labelled pixels.
        groups: By group (a model with one or several seeds): `pipelines`; `kind`, generative or discriminative;
            `default_mode`; `scores`; `training_data`; `in_domain`, a test set or `None`, and `in_domain_from`;
            `reference`, the test set that sets thresholds; `pairs` by test set, see `Pair.to_dict`; `short_side` by
            test set and, in `tried`, the mIoU at every one; `cells` and `summary` as for a pipeline, every number as
            `mean` and `std` over the seeds.
        device: Where the pipelines ran.
        settings: How it was measured.
        notes: What a reader should know.
        pictures: By test set (caption, pictures), see `gss.evaluation.cross_domain.page.draw_rows`.
    """

    data: dict[str, dict[str, Any]]
    common: list[str]
    pipelines: dict[str, dict[str, Any]]
    groups: dict[str, dict[str, Any]]
    device: str
    settings: dict[str, Any]
    notes: list[str]
    pictures: dict[str, list[tuple[str, list[Image.Image]]]] = dataclasses.field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures, in types JSON knows."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del fields["pictures"]
        return fields

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write `to_dict`."""
        write_json(path, self.to_dict())

    def lines(self) -> list[tuple[str, str, str]]:
        """Rows of the matrix: (title, group, mode)."""
        return [(f"{name} · {mode}", name, mode) for name, group in self.groups.items() for mode in group["summary"]]


def transfer(values: Mapping[str, float | None], in_domain: str | None) -> dict[str, float | None]:
    """Means of one figure over test sets.

    Args:
        values: Test set to figure.
        in_domain: Test set like the training data, if any.

    Returns:
        `mean` and `harmonic` mean over all test sets, `away` and `away_harmonic` over those out of domain, `drop`
        (in domain - `away`) and `relative_drop` (drop / in domain). `None` where there is nothing to compute from.
    """
    home = values.get(in_domain) if in_domain is not None else None
    abroad = [value for name, value in values.items() if name != in_domain]
    away = mean(abroad)
    drop = None if home is None or away is None else home - away
    return {
        "mean": mean(values.values()),
        "harmonic": harmonic(list(values.values())),
        "away": away,
        "away_harmonic": harmonic(abroad),
        "drop": drop,
        "relative_drop": drop / home if drop is not None and home else None,
    }


def harmonic(values: Sequence[float | None]) -> float | None:
    """Harmonic mean of what exists, 0 with a 0 among it; None for nothing."""
    found = [value for value in values if value is not None]
    if not found or min(found) <= 0:
        return 0.0 if found else None
    return len(found) / sum(1 / value for value in found)


def summarise(cells: Mapping[str, Mapping[str, Any]], in_domain: str | None) -> dict[str, Any]:
    """Mode to way of mapping to figure to `transfer`, from the cells of one pipeline by test set."""
    modes = next(iter(cells.values()))["modes"]
    return {
        mode: {
            way: {
                figure: transfer({name: cell["modes"][mode][way][figure] for name, cell in cells.items()}, in_domain)
                for figure in FIGURES
            }
            for way in WAYS
        }
        for mode in modes
    }


def over_seeds(found: Sequence[Any]) -> Any:
    """The same structure with every number replaced by `mean` and `std` (n - 1; `None` for one seed) over the seeds.

    Args:
        found: One nested structure of dicts, lists, numbers and `None` a seed; keys that not all have are left out.
    """
    if isinstance(found[0], dict):
        return {key: over_seeds([one[key] for one in found]) for key in found[0] if all(key in one for one in found)}
    if any(isinstance(one, list) for one in found):
        return [over_seeds(list(parts)) for parts in zip(*(one for one in found if one is not None), strict=True)]
    values = [value for value in found if value is not None]
    return {"mean": mean(values), "std": stdev(values) if len(values) > 1 else None}
