"""Counts of one pipeline on one test set, in the classes of the test set.

Classes of a test set that the pipeline cannot predict are void in every metric except `miou_all`, where they count as
missed. A prediction is mapped to the classes of the test set in two ways. `probabilities`: the probabilities of the
pipeline's classes are added up by target, and the most probable target is taken; this uses the knowledge that the true
class is one of the targets. `hard`: the most probable class is translated, and a class without a target is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gss.core.distributed import sum_across
from gss.evaluation.cross_domain.pair import LabelViews, Pair
from gss.evaluation.cross_domain.result import HARD, PROBABILITIES, WAYS, CellMetrics, CellResult
from gss.labels.mapping import LabelMapping
from gss.labels.space import IGNORE_INDEX
from gss.metrics import SegmentationMetrics
from gss.metrics.alarms import AlarmThreshold
from gss.metrics.means import mean


class _ModeCounts:
    """Counts of one decode mode."""

    def __init__(self, pair: Pair) -> None:
        K = pair.mapping.target.num_classes
        self.pair = pair
        # With hard mapping, an extra class takes the predictions that have no target.
        self.metrics = {way: SegmentationMetrics(K + (way == HARD)) for way in WAYS}
        self.missed = {way: torch.zeros(K, K + 1, dtype=torch.int64) for way in WAYS}
        self.common: dict[str, Tensor] = {}
        if pair.common is not None:
            C = pair.common[0].target.num_classes
            self.common = {way: torch.zeros(C, C + 1, dtype=torch.int64) for way in WAYS}

    def update(self, probabilities: Tensor, views: LabelViews) -> None:
        """Count one image.

        Args:
            probabilities: float32 [K, H, W] of the classes of the pipeline.
            views: views of its labels.
        """
        mapping, K = self.pair.mapping, self.pair.mapping.target.num_classes
        confidence, best = probabilities.max(0)  # [H, W]
        planes = mapping.apply_probabilities(probabilities)
        # Sums in float32 may exceed 1 by a rounding error.
        self._count(PROBABILITIES, planes.clamp(max=1), views)
        if not self.pair.relabels:
            planes = planes.new_zeros(K + 1, *best.shape)
            self._count(HARD, planes.scatter_(0, _translate(mapping, best, K)[None], confidence[None]), views)
        if self.pair.common is not None and views.common is not None:
            to_common = self.pair.common[0]
            C = to_common.target.num_classes
            self.common[PROBABILITIES] += _confusion(views.common, to_common.predict(probabilities), C)
            self.common[HARD] += _confusion(views.common, _translate(to_common, best, C), C)

    def _count(self, way: str, planes: Tensor, views: LabelViews) -> None:
        """Count probabilities float32 [K or K + 1, H, W] of the classes of the test set."""
        self.metrics[way].update(planes, views.known)
        if self.pair.mapping.unreachable:
            self.missed[way] += _confusion(views.missed, planes.argmax(0), self.pair.mapping.target.num_classes)

    def compute(self) -> dict[str, CellMetrics[float | None]]:
        """Return the metrics of all processes by way of mapping."""
        metrics = {}
        for way in WAYS:
            # All processes take part in both sums, for every pair.
            self.metrics[way].sum_across()
            self.missed[way], common = sum_across(self.missed[way]), None
            if self.common:
                common = class_iou(sum_across(self.common[way]))
            counted = PROBABILITIES if self.pair.relabels else way
            miou_common = None if common is None else mean(common)
            metrics[way] = CellMetrics(**self._metrics(counted), miou_common=miou_common, iou_common=common)
        return metrics

    def _metrics(self, way: str) -> dict[str, Any]:
        values, counts = self.metrics[way].compute(), self.missed[way].clone()
        K = len(counts)
        known = self.metrics[way].confusion[:K]
        counts[:, : known.shape[1]] += known
        iou_all = class_iou(counts)
        return {
            "miou": mean(values["iou"][:K]),
            "miou_all": mean(iou_all),
            "boundary_f": mean(values["boundary_f_per_class"][:K]),
            "ece": values["ece"],
            "accuracy": values["accuracy"],
            "iou": values["iou"][:K],
            "iou_all": iou_all,
        }


class CellCounts:
    """Counts of one pipeline on one test set at one resolution.

    Args:
        pair: relation of the classes.
        modes: decode modes.
        scores: out-of-distribution scores.
    """

    def __init__(self, pair: Pair, modes: Sequence[str], scores: Sequence[str]) -> None:
        self.pair = pair
        self.modes = {mode: _ModeCounts(pair) for mode in modes}
        self.familiar = {score: AlarmThreshold() for score in scores}
        self.foreign = {score: AlarmThreshold() for score in (scores if pair.foreign else ())}

    def update(self, maps: Mapping[str, Tensor], labels: np.ndarray) -> None:
        """Count one image.

        Args:
            maps: float32 [K, H, W] by decode mode, and float32 [H, W] by score.
            labels: uint8 [H, W], in the classes of the test set.
        """
        views = self.pair.views(labels)
        for mode, counts in self.modes.items():
            counts.update(maps[mode], views)
        for distributions, part in ((self.familiar, views.familiar), (self.foreign, views.foreign)):
            for score, distribution in distributions.items():
                distribution.update(maps[score], part)

    def sum_across(self) -> None:
        """Replace the distributions of the scores by those of all processes."""
        for distribution in (*self.familiar.values(), *self.foreign.values()):
            distribution.sum_across()

    def compute(self, thresholds: Mapping[str, float]) -> CellResult[float | None]:
        """Return the results of all processes.

        Args:
            thresholds: threshold of alarms by score, in units of the score.
        """
        return CellResult(
            modes={mode: counts.compute() for mode, counts in self.modes.items()},
            alarms={score: self.familiar[score].rate(value) for score, value in thresholds.items()},
            alarms_foreign={
                score: self.foreign[score].rate(value) if score in self.foreign else None
                for score, value in thresholds.items()
            },
        )


def class_iou(counts: Tensor) -> list[float | None]:
    """Return the IoU of each class.

    Args:
        counts: pixels, int64 [K, K + 1], rows truth, columns prediction, the last one of no class.
    """
    counts = counts.double()
    hits = counts.diagonal()
    union = counts.sum(1) + counts.sum(0)[: len(hits)] - hits
    return [float(hit / all) if all > 0 else None for hit, all in zip(hits, union, strict=True)]


def _translate(mapping: LabelMapping, labels: Tensor, other: int) -> Tensor:
    """Return labels int64 [H, W] of targets; `other` where a class has no target."""
    table = torch.from_numpy(mapping.table.astype(np.int64)).to(labels.device)
    return table.masked_fill(table == IGNORE_INDEX, other)[labels]


def _confusion(truth: np.ndarray, labels: Tensor, classes: int) -> Tensor:
    """Return the labelled pixels, int64 [K, K + 1], from truth uint8 [H, W] and labels int64 [H, W] in 0..K."""
    rows = torch.from_numpy(np.where(truth == IGNORE_INDEX, classes, truth).astype(np.int64)).to(labels.device)
    counts = torch.bincount((rows * (classes + 1) + labels).flatten(), minlength=(classes + 1) ** 2)
    return counts.view(classes + 1, classes + 1)[:classes].cpu()
