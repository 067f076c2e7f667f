"""The result of `evaluate_shifts`, and its means over shifts and severities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from PIL import Image

from gss.core.records import NOT_IN_JSON, Record
from gss.evaluation.images import Unreadable
from gss.metrics.means import mean

# Key of a metric of a decode mode -> title in tables.
METRIC_TITLES = {"miou": "mIoU", "boundary_f": "boundary F", "ece": "calibration error"}
ALARMS = "alarms"
"""Name of the false alarms where a metric is asked for; their keys are scores, not decode modes."""


@dataclass(frozen=True)
class ShiftMetrics(Record):
    """Metrics of one decode mode under one condition; fractions in 0..1, `None` where there is nothing to measure.

    Attributes:
        miou: mean intersection over union.
        boundary_f: mean boundary F-measure, tolerance 3 pixels.
        ece: expected calibration error.
        accuracy: share of correct pixels.
        iou: IoU by class.
    """

    miou: float | None
    boundary_f: float | None
    ece: float | None
    accuracy: float | None
    iou: list[float | None]


@dataclass(frozen=True)
class ShiftCell(Record):
    """One pipeline under one condition.

    Attributes:
        modes: metrics by decode mode.
        alarms: share of the labelled pixels that raise an alarm, by score, 0..1; `None` without pixels.
    """

    modes: dict[str, ShiftMetrics]
    alarms: dict[str, float | None]

    def value(self, key: str, metric: str) -> float | None:
        """Return a metric of the decode mode `key`, or with `ALARMS` the share of alarms of the score `key`."""
        return self.alarms[key] if metric == ALARMS else self.modes[key][metric]


@dataclass(frozen=True)
class ShiftMeans(Record):
    """Means of one metric; `None` where there is nothing to measure.

    Attributes:
        clean: value on the clean images.
        shifted: mean over shifts of the mean over severities; every shift has the same weight.
        drop: clean minus shifted.
        relative_drop: drop divided by clean.
        by_shift: mean over severities, by shift.
        by_severity: mean over shifts, by severity.
    """

    clean: float | None
    shifted: float | None
    drop: float | None
    relative_drop: float | None
    by_shift: dict[str, float | None]
    by_severity: dict[int, float | None]


@dataclass(frozen=True)
class ShiftSummary(Record):
    """Means of one pipeline.

    Attributes:
        modes: decode mode to metric to means.
        alarms: score to means.
    """

    modes: dict[str, dict[str, ShiftMeans]]
    alarms: dict[str, ShiftMeans]

    def means(self, key: str, metric: str) -> ShiftMeans:
        """Return the means of a metric of the decode mode `key`, or with `ALARMS` those of the score `key`."""
        return self.alarms[key] if metric == ALARMS else self.modes[key][metric]


@dataclass(frozen=True)
class PipelineShifts(Record):
    """All results of one pipeline.

    Attributes:
        default_mode: decode mode of the pictures.
        thresholds: threshold of alarms by score, in units of the score.
        clean: results on the clean images.
        shifts: shift to severity to results.
        summary: means over shifts and severities.
    """

    default_mode: str
    thresholds: dict[str, float]
    clean: ShiftCell
    shifts: dict[str, dict[int, ShiftCell]]
    summary: ShiftSummary


@dataclass(frozen=True)
class ShiftResult(Record):
    """Result of `evaluate_shifts`; equal on all processes, but only the main process has pictures.

    Attributes:
        data: name of the data set and split.
        images: number of images measured, each clean and under every shift and severity.
        class_names: names of the K classes.
        class_colors: RGB of the K classes.
        shifts: names of the shifts, in the order of tables.
        severities: severities, ascending.
        pipelines: results by pipeline.
        device: name of the device of the pipelines.
        settings: arguments of the evaluation.
        unreadable: images that could not be read and are left out.
        pictures: (caption, pictures) of one image under every shift.
    """

    schema_version: ClassVar[int] = 1

    data: str
    images: int
    class_names: list[str]
    class_colors: list[list[int]]
    shifts: list[str]
    severities: list[int]
    pipelines: dict[str, PipelineShifts]
    device: str
    settings: dict[str, Any]
    unreadable: list[Unreadable] = field(default_factory=list)
    pictures: list[tuple[str, list[Image.Image]]] = field(default_factory=list, repr=False, metadata=NOT_IN_JSON)

    def lines(self, metric: str) -> list[tuple[str, str, str]]:
        """Return (title, pipeline, key) of each line of a chart; the key is a decode mode, for `ALARMS` a score."""
        return [
            (f"{name} · {key}", name, key)
            for name, pipeline in self.pipelines.items()
            for key in (pipeline.summary.alarms if metric == ALARMS else pipeline.summary.modes)
        ]

    def curve(self, pipeline: str, shift: str, key: str, metric: str) -> list[tuple[float, float]]:
        """Return the points (severity, value) of a chart, with the clean images at severity 0.

        Args:
            pipeline: name of the pipeline.
            shift: name of the shift.
            key: decode mode, for `ALARMS` a score.
            metric: key of `METRIC_TITLES`, or `ALARMS`.
        """
        cells = {0: self.pipelines[pipeline].clean, **self.pipelines[pipeline].shifts[shift]}
        points = [(severity, cell.value(key, metric)) for severity, cell in cells.items()]
        return [(float(severity), value) for severity, value in points if value is not None]


def summarize(clean: ShiftCell, shifts: Mapping[str, Mapping[int, ShiftCell]]) -> ShiftSummary:
    """Return the means of one pipeline.

    Args:
        clean: results on the clean images.
        shifts: shift to severity to results.
    """
    return ShiftSummary(
        modes={mode: {metric: _means(clean, shifts, mode, metric) for metric in METRIC_TITLES} for mode in clean.modes},
        alarms={score: _means(clean, shifts, score, ALARMS) for score in clean.alarms},
    )


def _means(clean: ShiftCell, shifts: Mapping[str, Mapping[int, ShiftCell]], key: str, metric: str) -> ShiftMeans:
    values = {
        shift: {severity: cell.value(key, metric) for severity, cell in cells.items()}
        for shift, cells in shifts.items()
    }
    by_shift = {shift: mean(by_severity.values()) for shift, by_severity in values.items()}
    severities = next(iter(values.values()))
    on_clean, on_shifted = clean.value(key, metric), mean(by_shift.values())
    drop = None if on_clean is None or on_shifted is None else on_clean - on_shifted
    return ShiftMeans(
        clean=on_clean,
        shifted=on_shifted,
        drop=drop,
        relative_drop=drop / on_clean if drop is not None and on_clean else None,
        by_shift=by_shift,
        by_severity={s: mean(by_severity[s] for by_severity in values.values()) for s in severities},
    )
