"""What one pipeline says about clean and shifted images, counted; used by `gss.evaluation.shifts.evaluate`."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from gss.core.distributed import sum_across
from gss.data.protocols import ReadableImages
from gss.evaluation.shifts.result import FIGURES
from gss.metrics import SegmentationMetrics
from gss.metrics.alarms import AlarmThreshold, count_alarms
from gss.pipeline.pipeline import GSSPipeline

Condition = tuple[str, int]
"""Shift and severity."""

CLEAN: Condition = ("clean", 0)


class _Counts:
    """Counts of one pipeline under one condition."""

    def __init__(self, num_classes: int, modes: Sequence[str], scores: Sequence[str]) -> None:
        self.metrics = {mode: SegmentationMetrics(num_classes) for mode in modes}
        self.alarms = {score: torch.zeros(2, dtype=torch.int64) for score in scores}

    def compute(self) -> dict[str, Any]:
        """Figures of all processes."""
        modes, alarms = {}, {}
        for mode, metrics in self.metrics.items():
            metrics.sum_across()
            figures = metrics.compute()
            modes[mode] = {key: figures[key] for key in (*FIGURES, "accuracy", "iou")}
        for score, counts in self.alarms.items():
            raised, pixels = sum_across(counts).tolist()
            alarms[score] = raised / pixels if pixels else None
        return {"modes": modes, "alarms": alarms}


class Subject:
    """One pipeline, what is measured of it, and what was counted so far.

    Args:
        pipeline: Stays in its mode and on its device.
        modes: Decode modes besides the default one; those it lacks are left out.
        scores: Out-of-distribution scores; those it lacks are left out, its default one if `None`.
        options: Arguments of `GSSPipeline.predict_probabilities`.

    Raises:
        ValueError: An option is not allowed.
    """

    def __init__(
        self, pipeline: GSSPipeline, modes: Sequence[str], scores: Sequence[str] | None, options: dict[str, Any]
    ) -> None:
        self.pipeline, self.options = pipeline, options
        own = [mode for mode in modes if mode in pipeline.decode_modes]
        self.modes = tuple(dict.fromkeys([pipeline.default_decode, *own]))
        wanted = [pipeline.default_score] if scores is None else scores
        self.scores = tuple(dict.fromkeys(score for score in wanted if score in pipeline.score_names))
        pipeline.check_inputs(self.modes, **options)
        self.thresholds: dict[str, float] = {}
        self.counts: dict[Condition, _Counts] = {}

    def run(self, images: Sequence[Image.Image], *, classes: bool = True) -> list[dict[str, Tensor]]:
        """Probabilities by mode and map `[H, W]` by score of each image, from one run of the network."""
        modes = self.modes if classes else ()
        found = self.pipeline.predict_probabilities(list(images), modes=modes, scores=self.scores, **self.options)
        return [
            {name: maps[row][0] if name in self.scores else maps[row] for name, maps in found.items()}
            for row in range(len(images))
        ]

    def count(self, condition: Condition, found: Mapping[str, Tensor], labels: np.ndarray) -> None:
        """Add one image; alarms are counted where there is a threshold."""
        if condition not in self.counts:
            self.counts[condition] = _Counts(len(self.pipeline.id2label), self.modes, self.scores)
        counts = self.counts[condition]
        for mode, metrics in counts.metrics.items():
            metrics.update(found[mode], labels)
        for score, threshold in self.thresholds.items():
            counts.alarms[score] += torch.tensor(count_alarms(found[score], labels, threshold))

    def results(self, conditions: Sequence[Condition]) -> dict[Condition, dict[str, Any]]:
        """Figures by condition, the same on every process, also on one that had no image."""
        empty = _Counts(len(self.pipeline.id2label), self.modes, self.scores)
        return {condition: self.counts.get(condition, copy.deepcopy(empty)).compute() for condition in conditions}


def run_clean(
    subjects: Mapping[str, Subject], data: ReadableImages, indices: Sequence[int], bar: tqdm, *, classes: bool
) -> dict[str, dict[str, AlarmThreshold]]:
    """Scores of clean images by pipeline and score; with `classes`, the predictions are counted too."""
    found_scores = {name: {score: AlarmThreshold() for score in one.scores} for name, one in subjects.items()}
    for index in indices:
        image, labels = data.read(index)
        for name, one in subjects.items():
            if classes or one.scores:
                (found,) = one.run([image], classes=classes)
                for score, distribution in found_scores[name].items():
                    distribution.update(found[score], labels)
                if classes:
                    one.count(CLEAN, found, labels)
            bar.update()
    for distributions in found_scores.values():
        for distribution in distributions.values():
            distribution.sum_across()
    return found_scores
