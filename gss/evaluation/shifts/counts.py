"""Counts of one pipeline on clean and shifted images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from gss.evaluation.shifts.result import PipelineShifts, ShiftCell, ShiftMetrics, summarize
from gss.metrics import SegmentationMetrics
from gss.metrics.alarms import AlarmRate, AlarmThreshold
from gss.pipeline.pipeline import GSSPipeline

Condition = tuple[str, int]
"""Shift and severity."""

CLEAN: Condition = ("clean", 0)


class _CellCounts:
    """Counts under one condition."""

    def __init__(self, num_classes: int, modes: Sequence[str], thresholds: Mapping[str, float]) -> None:
        self.metrics = {mode: SegmentationMetrics(num_classes) for mode in modes}
        self.alarms = {score: AlarmRate(threshold) for score, threshold in thresholds.items()}

    def compute(self) -> ShiftCell:
        """Return the metrics of all processes."""
        modes = {}
        for mode, metrics in self.metrics.items():
            values = metrics.compute()
            modes[mode] = ShiftMetrics(**{key: values[key] for key in ShiftMetrics.__dataclass_fields__})
        return ShiftCell(modes, {score: rate.compute() for score, rate in self.alarms.items()})


class PipelineCounts:
    """One pipeline, the decode modes and scores measured of it, and the counts under every condition.

    Args:
        pipeline: the pipeline, which stays in its mode and on its device.
        modes: decode modes to measure besides the default one; those that the pipeline lacks are left out.
        scores: out-of-distribution scores; those that the pipeline lacks are left out. Its default one if `None`.
        options: arguments of `GSSPipeline.predict_probabilities`.

    Raises:
        InputError: an option is not allowed.
    """

    def __init__(
        self, pipeline: GSSPipeline, modes: Sequence[str], scores: Sequence[str] | None, options: dict[str, Any]
    ) -> None:
        self.pipeline, self.options = pipeline, options
        available = [mode for mode in modes if mode in pipeline.decode_modes]
        self.modes = tuple(dict.fromkeys([pipeline.default_decode, *available]))
        wanted = [pipeline.default_score] if scores is None else scores
        self.scores = tuple(dict.fromkeys(score for score in wanted if score in pipeline.score_names))
        pipeline.check_inputs(self.modes, **options)
        self.thresholds: dict[str, float] = {}
        self._cells: dict[Condition, _CellCounts] = {}

    def run(self, images: Sequence[Image.Image], *, classes: bool = True) -> list[dict[str, Tensor]]:
        """Run the network once per image.

        Args:
            images: PIL images.
            classes: whether probabilities are needed, not only scores.

        Returns:
            For each image float32 [K, H, W] by decode mode, and float32 [H, W] by score.
        """
        modes = self.modes if classes else ()
        maps = self.pipeline.predict_probabilities(list(images), modes=modes, scores=self.scores, **self.options)
        return [
            {name: values[row][0] if name in self.scores else values[row] for name, values in maps.items()}
            for row in range(len(images))
        ]

    def count(self, condition: Condition, maps: Mapping[str, Tensor], labels: np.ndarray) -> None:
        """Count one image; alarms are counted once thresholds are known.

        Args:
            condition: shift and severity of the image.
            maps: maps of the image, as `run` returns them.
            labels: uint8 [H, W], 255 for void.
        """
        if condition not in self._cells:
            self._cells[condition] = self._empty(condition)
        cell = self._cells[condition]
        for mode, metrics in cell.metrics.items():
            metrics.update(maps[mode], labels)
        for score, rate in cell.alarms.items():
            rate.update(maps[score], labels)

    def result(
        self, shifts: Sequence[str], severities: Sequence[int], clean_scores: Mapping[str, AlarmThreshold]
    ) -> PipelineShifts:
        """Return the results of all processes, equal on each of them, also on one without any image.

        Args:
            shifts: names of the shifts.
            severities: severities.
            clean_scores: distribution of each score over the clean images.
        """
        metrics = self._compute(CLEAN)
        # Clean images are counted before thresholds are known; the distributions have the rates at them.
        alarms = {score: clean_scores[score].rate(value) for score, value in self.thresholds.items()}
        clean = ShiftCell(metrics.modes, alarms)
        cells = {shift: {severity: self._compute((shift, severity)) for severity in severities} for shift in shifts}
        return PipelineShifts(self.modes[0], self.thresholds, clean, cells, summarize(clean, cells))

    def _compute(self, condition: Condition) -> ShiftCell:
        # A process without an image of the condition takes part in the sums with zeros.
        return (self._cells.get(condition) or self._empty(condition)).compute()

    def _empty(self, condition: Condition) -> _CellCounts:
        # Clean images are counted before thresholds are known.
        thresholds = {} if condition == CLEAN else self.thresholds
        return _CellCounts(len(self.pipeline.id2label), self.modes, thresholds)
