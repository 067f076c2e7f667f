"""The result of `evaluate_cross_domain`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from PIL import Image

from gss.core.records import NOT_IN_JSON, Record
from gss.evaluation.images import Unreadable

PROBABILITIES, HARD = "probabilities", "hard"
WAYS = (PROBABILITIES, HARD)
"""Ways of mapping a prediction to the classes of a test set, see `gss.evaluation.cross_domain.counts`."""

# Key of a metric of a decode mode -> title in tables.
METRIC_TITLES = {
    "miou": "mIoU",
    "miou_common": "mIoU, common classes",
    "miou_all": "mIoU, all classes",
    "boundary_f": "boundary F",
    "ece": "calibration error",
}


@dataclass(frozen=True)
class Spread(Record):
    """A value over the seeds of a model.

    Attributes:
        mean: mean; `None` if no seed has a value.
        std: standard deviation (n - 1); `None` for fewer than two values.
    """

    mean: float | None
    std: float | None


V = TypeVar("V", "float | None", Spread)
"""Type of a number: of one pipeline, or over the seeds of a model."""


@dataclass(frozen=True)
class CellMetrics(Record, Generic[V]):
    """Metrics of a decode mode on a test set; fractions in 0..1, `None` where there is nothing to measure.

    Attributes:
        miou: mean IoU of the classes that the pipeline can predict.
        miou_all: mean IoU of all classes of the test set; those the pipeline cannot predict count as missed.
        boundary_f: mean boundary F-measure, tolerance 3 pixels.
        ece: expected calibration error.
        accuracy: share of correct pixels.
        iou: IoU by class of the test set.
        iou_all: the same, with all classes counted.
        miou_common: mean IoU of the common classes; `None` without common classes.
        iou_common: IoU by common class; `None` without common classes.
    """

    miou: V
    miou_all: V
    boundary_f: V
    ece: V
    accuracy: V
    iou: list[V]
    iou_all: list[V]
    miou_common: V
    iou_common: list[V] | None


@dataclass(frozen=True)
class CellResult(Record, Generic[V]):
    """One pipeline, or one model over its seeds, on one test set.

    Attributes:
        modes: decode mode to way of mapping to metrics.
        alarms: score to share of the labelled pixels of linked classes that raise an alarm, 0..1.
        alarms_foreign: the same for classes that no class of the pipeline is linked to.
    """

    modes: dict[str, dict[str, CellMetrics[V]]]
    alarms: dict[str, V]
    alarms_foreign: dict[str, V]


@dataclass(frozen=True)
class Transfer(Record, Generic[V]):
    """Means of one metric over test sets; `None` where there is nothing to compute from.

    Attributes:
        mean: mean over all test sets.
        harmonic: harmonic mean over all test sets, 0 if a value is 0.
        away: mean over the test sets out of domain.
        away_harmonic: harmonic mean over the test sets out of domain.
        drop: value in domain minus `away`.
        relative_drop: drop divided by the value in domain.
    """

    mean: V
    harmonic: V
    away: V
    away_harmonic: V
    drop: V
    relative_drop: V


Summary = dict[str, dict[str, dict[str, Transfer[V]]]]
"""Decode mode to way of mapping to metric to means over test sets."""


@dataclass(frozen=True)
class PipelineResult(Record):
    """Results of one pipeline, that is one seed of a model.

    Attributes:
        group: model that the pipeline is a seed of.
        thresholds: test set to score to threshold of alarms, in units of the score.
        cells: results by test set.
        summary: means over test sets.
    """

    group: str
    thresholds: dict[str, dict[str, float]]
    cells: dict[str, CellResult[float | None]]
    summary: Summary[float | None]


@dataclass(frozen=True)
class PairResult(Record):
    """Relation of the classes of a model and a test set.

    Attributes:
        mapping: class of the model to class or shares of classes of the test set.
        origin: source of the mapping, in words.
        unreachable: classes of the test set that the model cannot predict.
        foreign: classes of the test set that no class of the model is linked to.
        dropped: classes of the model without a target.
    """

    mapping: dict[str, Any]
    origin: str
    unreachable: list[str]
    foreign: list[str]
    dropped: list[str]


@dataclass(frozen=True)
class GroupResult(Record):
    """Results of one model over its seeds.

    Attributes:
        pipelines: names of the seeds.
        kind: `generative` or `discriminative`.
        default_mode: decode mode of the main tables.
        scores: names of the scores.
        training_data: training data as the model card records it; empty if it records nothing.
        in_domain: test set like the training data; `None` if none is.
        in_domain_from: source of `in_domain`, in words.
        reference: test set that sets the thresholds of alarms.
        pairs: relation of the classes by test set.
        short_side: length of the shorter side in pixels that was kept, by test set; `None` for other sizes.
        tried: test set to short side to mIoU.
        cells: results by test set, over the seeds.
        summary: means over test sets, over the seeds.
    """

    pipelines: list[str]
    kind: str
    default_mode: str
    scores: list[str]
    training_data: str
    in_domain: str | None
    in_domain_from: str
    reference: str
    pairs: dict[str, PairResult]
    short_side: dict[str, int | None]
    tried: dict[str, dict[str, float | None]]
    cells: dict[str, CellResult[Spread]]
    summary: Summary[Spread]


@dataclass(frozen=True)
class TestSetResult(Record):
    """One test set.

    Attributes:
        images: number of images measured.
        classes: names of the classes.
        colors: RGB of the classes.
        split: split of the data set; empty if not known.
        unreadable: images that could not be read and are left out.
    """

    __test__ = False  # no test case of pytest

    images: int
    classes: list[str]
    colors: list[list[int]]
    split: str = ""
    unreadable: list[Unreadable] = field(default_factory=list)


@dataclass(frozen=True)
class CrossDomainResult(Record):
    """Result of `evaluate_cross_domain`; equal on all processes, but only the main process has pictures.

    Attributes:
        data: facts by test set.
        common: classes that all pipelines and test sets tell apart; empty without any.
        pipelines: results by pipeline.
        groups: results by model.
        device: name of the device of the pipelines.
        settings: arguments of the evaluation.
        notes: sentences that a reader needs to understand the numbers.
        pictures: (caption, pictures) by test set, see `gss.evaluation.cross_domain.pictures.draw_rows`.
    """

    schema_version: ClassVar[int] = 1

    data: dict[str, TestSetResult]
    common: list[str]
    pipelines: dict[str, PipelineResult]
    groups: dict[str, GroupResult]
    device: str
    settings: dict[str, Any]
    notes: list[str]
    pictures: dict[str, list[tuple[str, list[Image.Image]]]] = field(
        default_factory=dict, repr=False, metadata=NOT_IN_JSON
    )

    def lines(self) -> list[tuple[str, str, str]]:
        """Return (title, model, decode mode) of each row of the matrix."""
        return [(f"{name} · {mode}", name, mode) for name, group in self.groups.items() for mode in group.summary]

    def metrics(self, model: str, test_set: str, mode: str, way: str = PROBABILITIES) -> CellMetrics[Spread]:
        """Return the metrics of one cell of the matrix."""
        return self.groups[model].cells[test_set].modes[mode][way]
