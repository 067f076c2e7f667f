"""What one pipeline says about one test set, brought into the classes of the test set and counted.

Classes of a test set that the pipeline can never predict are void in every figure but `miou_all`, where they count as
missed. Predictions get into the test set's classes in two ways: probabilities of source classes add up and the most
probable target is taken, which knows that the truth is one of the targets; or the most probable source class is
translated, and one without a target is simply wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gss.core.distributed import sum_across
from gss.labels.mapping import LabelMapping
from gss.labels.space import IGNORE_INDEX
from gss.metrics import SegmentationMetrics
from gss.metrics.alarms import AlarmThreshold

PROBABILITIES, HARD = "probabilities", "hard"
WAYS = (PROBABILITIES, HARD)


class Truth(NamedTuple):
    """Label maps uint8 `[H, W]`, each with the classes it is about, the others void.

    Attributes:
        known: classes that the pipeline can predict.
        missed: classes that it cannot.
        familiar: classes linked to one of its own, also where another one always wins.
        foreign: classes without a link, truly unknown to it.
        common: the common classes, by their own numbers; `None` without common classes.
    """

    known: np.ndarray
    missed: np.ndarray
    familiar: np.ndarray
    foreign: np.ndarray
    common: np.ndarray | None


@dataclass(frozen=True)
class Pair:
    """How the classes of a pipeline and of a test set belong together.

    Args:
        mapping: From the pipeline's classes to those of the test set.
        origin: Where it comes from, in words.
        common: From the pipeline's and from the test set's classes to the common ones; `None` without any.
    """

    mapping: LabelMapping
    origin: str
    common: tuple[LabelMapping, LabelMapping] | None = None

    @property
    def foreign(self) -> tuple[str, ...]:
        """Test classes that no class of the pipeline is linked to."""
        columns = zip(self.mapping.target.names, self.mapping.links.T, strict=True)
        return tuple(name for name, links in columns if not links.any())

    @property
    def relabels(self) -> bool:
        """Whether the mapping is a mere renumbering, so that both ways give the same."""
        whole = bool((self.mapping.matrix.sum(1) == 1).all())
        return whole and not (self.mapping.siblings or self.mapping.divided)

    def to_dict(self) -> dict[str, Any]:
        """For the result: `mapping`, `origin`, and names of `unreachable`, `foreign` and `dropped` classes."""
        return {
            "mapping": self.mapping.to_names(),
            "origin": self.origin,
            "unreachable": list(self.mapping.unreachable),
            "foreign": list(self.foreign),
            "dropped": list(self.mapping.dropped),
        }

    def truth(self, labels: np.ndarray) -> Truth:
        """Views of one label map uint8 `[H, W]` in the test set's classes."""
        known, familiar = (table[labels] for table in self._tables)
        common = None if self.common is None else self.common[1].apply_labels(labels)
        missed, foreign = (np.where(part == IGNORE_INDEX, labels, IGNORE_INDEX) for part in (known, familiar))
        return Truth(known, missed, familiar, foreign, common)

    @cached_property
    def _tables(self) -> tuple[np.ndarray, np.ndarray]:
        tables = []
        for left_out in (self.mapping.unreachable, self.foreign):
            table = np.arange(IGNORE_INDEX + 1, dtype=np.uint8)
            table[[self.mapping.target.index(name) for name in left_out]] = IGNORE_INDEX
            tables.append(table)
        return tables[0], tables[1]


class _ModeCounts:
    """Counts of one decode mode."""

    def __init__(self, pair: Pair) -> None:
        K = pair.mapping.target.num_classes
        self.pair = pair
        # A class of its own takes the predictions that have no target.
        self.metrics = {way: SegmentationMetrics(K + (way == HARD)) for way in WAYS}
        self.missed = {way: torch.zeros(K, K + 1, dtype=torch.int64) for way in WAYS}
        self.common: dict[str, Tensor] = {}
        if pair.common is not None:
            C = pair.common[0].target.num_classes
            self.common = {way: torch.zeros(C, C + 1, dtype=torch.int64) for way in WAYS}

    def update(self, probs: Tensor, truth: Truth) -> None:
        """Add one image: class probabilities of the pipeline `[K, H, W]`."""
        mapping, K = self.pair.mapping, self.pair.mapping.target.num_classes
        confidence, best = probs.max(0)
        planes = mapping.apply_probabilities(probs)
        # Float32 sums may exceed 1 by a rounding.
        self._count(PROBABILITIES, planes.clamp(max=1), truth)
        if not self.pair.relabels:
            chosen = planes.new_zeros(K + 1, *best.shape)
            self._count(HARD, chosen.scatter_(0, _translate(mapping, best, K)[None], confidence[None]), truth)
        if self.pair.common is not None and truth.common is not None:
            to_common = self.pair.common[0]
            C = to_common.target.num_classes
            self.common[PROBABILITIES] += _confusion(truth.common, to_common.predict(probs), C)
            self.common[HARD] += _confusion(truth.common, _translate(to_common, best, C), C)

    def _count(self, way: str, planes: Tensor, truth: Truth) -> None:
        self.metrics[way].update(planes, truth.known)
        if self.pair.mapping.unreachable:
            self.missed[way] += _confusion(truth.missed, planes.argmax(0), self.pair.mapping.target.num_classes)

    def compute(self) -> dict[str, dict[str, Any]]:
        """Figures of all processes by way of mapping."""
        figures = {}
        for way in WAYS:
            # All processes take part in both sums, whatever the pair.
            self.metrics[way].sum_across()
            self.missed[way], common = sum_across(self.missed[way]), None
            if self.common:
                common = class_iou(sum_across(self.common[way]))
            source = PROBABILITIES if self.pair.relabels else way
            figures[way] = self._figures(source) | {"miou_common": common and _mean(common), "iou_common": common}
        return figures

    def _figures(self, way: str) -> dict[str, Any]:
        found, counts = self.metrics[way].compute(), self.missed[way].clone()
        K = len(counts)
        part = self.metrics[way].confusion[:K]
        counts[:, : part.shape[1]] += part
        every = class_iou(counts)
        return {
            "miou": _mean(found["iou"][:K]),
            "miou_all": _mean(every),
            "boundary_f": _mean(found["boundary_f_per_class"][:K]),
            "ece": found["ece"],
            "accuracy": found["accuracy"],
            "iou": found["iou"][:K],
            "iou_all": every,
        }


class CellCounts:
    """Counts of one pipeline on one test set at one resolution.

    Args:
        pair: How the classes belong together.
        modes: Decode modes.
        scores: Out-of-distribution scores.
    """

    def __init__(self, pair: Pair, modes: Sequence[str], scores: Sequence[str]) -> None:
        self.pair = pair
        self.modes = {mode: _ModeCounts(pair) for mode in modes}
        self.familiar = {score: AlarmThreshold() for score in scores}
        self.foreign = {score: AlarmThreshold() for score in (scores if pair.foreign else ())}

    def update(self, found: Mapping[str, Tensor], labels: np.ndarray) -> None:
        """Add one image.

        Args:
            found: Class probabilities of the pipeline `[K, H, W]` by mode, and map `[H, W]` by score.
            labels: uint8 `[H, W]` in the test set's classes.
        """
        truth = self.pair.truth(labels)
        for mode, counts in self.modes.items():
            counts.update(found[mode], truth)
        for seen, part in ((self.familiar, truth.familiar), (self.foreign, truth.foreign)):
            for score, distribution in seen.items():
                distribution.update(found[score], part)

    def sum_across(self) -> None:
        """Replace the distributions of scores by those of all processes."""
        for distribution in (*self.familiar.values(), *self.foreign.values()):
            distribution.sum_across()

    def compute(self, thresholds: Mapping[str, float]) -> dict[str, Any]:
        """Figures of all processes.

        Args:
            thresholds: By score.

        Returns:
            `modes`, mode to way of mapping to figures; `alarms` and `alarms_foreign`, score to share of the labelled
            pixels of familiar and of foreign classes at or above the threshold.
        """
        return {
            "modes": {mode: counts.compute() for mode, counts in self.modes.items()},
            "alarms": {score: self.familiar[score].rate(value) for score, value in thresholds.items()},
            "alarms_foreign": {
                score: self.foreign[score].rate(value) if score in self.foreign else None
                for score, value in thresholds.items()
            },
        }


def class_iou(counts: Tensor) -> list[float | None]:
    """IoU of each class from pixel counts `[K, K + 1]`, rows truth, columns prediction, the last one no class."""
    counts = counts.double()
    hits = counts.diagonal()
    union = counts.sum(1) + counts.sum(0)[: len(hits)] - hits
    return [float(hit / all) if all > 0 else None for hit, all in zip(hits, union, strict=True)]


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None


def _translate(mapping: LabelMapping, labels: Tensor, other: int) -> Tensor:
    """Hard mapping of labels int64 `[H, W]`; what has no target becomes `other`."""
    table = torch.from_numpy(mapping.table.astype(np.int64)).to(labels.device)
    return table.masked_fill(table == IGNORE_INDEX, other)[labels]


def _confusion(truth: np.ndarray, labels: Tensor, classes: int) -> Tensor:
    """Pixel counts int64 `[K, K + 1]` of the labelled pixels; labels int64 `[H, W]`, 0..K."""
    rows = torch.from_numpy(np.where(truth == IGNORE_INDEX, classes, truth).astype(np.int64)).to(labels.device)
    counts = torch.bincount((rows * (classes + 1) + labels).flatten(), minlength=(classes + 1) ** 2)
    return counts.view(classes + 1, classes + 1)[:classes].cpu()
