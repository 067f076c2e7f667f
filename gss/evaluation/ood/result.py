"""The result of `evaluate_ood`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from PIL import Image

from gss.core.records import NOT_IN_JSON, Record, plain
from gss.evaluation.images import Unreadable, unreadable_notes
from gss.metrics.components import ComponentResult
from gss.metrics.ood import Bounded, OODResult
from gss.metrics.open_set import OpenSetResult


@dataclass(frozen=True)
class OpenSetScore(Record):
    """Open-set mIoU of one score.

    Attributes:
        threshold: threshold in units of the score; pixels at or above it are rejected.
        result: metrics.
    """

    threshold: float
    result: OpenSetResult

    def to_json(self) -> dict[str, Any]:
        """Return threshold and metrics side by side."""
        return {"threshold": self.threshold, **plain(self.result)}


@dataclass(frozen=True)
class ScoreResult(Record):
    """Metrics of one score on one data set.

    Attributes:
        pooled: metrics of one ranking of all pixels.
        per_image: means over images; `None` unless that is the mode of the evaluation.
        curve: points of the pooled ROC and precision-recall curves, see `gss.metrics.ranking.Ranking.curve`.
        histogram: pooled shares by interval of the score, see `Ranking.histogram`.
        components: metrics of whole objects, at the pooled best-F1 threshold.
        open_set: metrics of classification with rejection.
    """

    pooled: OODResult
    per_image: OODResult | None = None
    curve: dict[str, list[float]] | None = None
    histogram: dict[str, list[float]] | None = None
    components: ComponentResult | None = None
    open_set: OpenSetScore | None = None


@dataclass(frozen=True)
class FrameMetrics(Record):
    """Metrics of one image, ranked by itself with the lead score; fractions in 0..1.

    Attributes:
        id: name of the image.
        outliers: number of outlier pixels.
        inliers: number of inlier pixels.
        ap: average precision; `None` without outliers or inliers.
        auroc: area under the ROC curve; `None` likewise.
        reason: reason for `None`.
        fpr: false positive rate at 95 % TPR, by the rule `first_at_least`; `None` likewise.
    """

    id: str
    outliers: int
    inliers: int
    ap: float | None
    auroc: float | None
    reason: str | None
    fpr: float | None


@dataclass(frozen=True)
class OODEvaluation(Record):
    """Result of `evaluate_ood`; equal on all processes, but only the main process has pictures.

    Attributes:
        pipeline: folder of the pipeline.
        data: name of the data set and split.
        mode: `pooled` or `per_image`: mode of the metrics in tables, see `OODResult`.
        fpr_rule: rule of the FPR at 95 % TPR in tables, see `gss.metrics.ranking.FPR_RULES`.
        images: number of images measured.
        without_outliers: number of images without an outlier pixel.
        void: number of images without any labelled pixel.
        lead: score that ranks single images.
        scores: metrics by score.
        frames: metrics of each image, in the order of the data set.
        device: name of the device of the pipeline.
        settings: arguments of the evaluation.
        unreadable: images that could not be read and are left out.
        picture_titles: titles of the pictures of an image.
        pictures: (caption, pictures) of the images with the lowest and the highest AP.
    """

    schema_version: ClassVar[int] = 1

    pipeline: str
    data: str
    mode: str
    fpr_rule: str
    images: int
    without_outliers: int
    void: int
    lead: str
    scores: dict[str, ScoreResult]
    frames: list[FrameMetrics]
    device: str
    settings: dict[str, Any]
    unreadable: list[Unreadable] = field(default_factory=list)
    picture_titles: tuple[str, ...] = field(default=(), metadata=NOT_IN_JSON)
    pictures: list[tuple[str, list[Image.Image]]] = field(default_factory=list, repr=False, metadata=NOT_IN_JSON)

    def result(self, score: str) -> OODResult:
        """Return the metrics of a score in the mode of the evaluation."""
        metrics = self.scores[score]
        return metrics.pooled if metrics.per_image is None else metrics.per_image

    def row(self, score: str) -> dict[str, Bounded | None]:
        """Return metrics by column title, all taken `over_images`; best F1 needs one ranking of all pixels."""
        result = self.result(score)
        row = {"AP": result.ap, "AUROC": result.auroc, "FPR at 95% TPR": result.fpr[self.fpr_rule]}
        return row | ({"best F1": result.best_f1} if self.mode == "pooled" else {})

    @property
    def over_images(self) -> str:
        """How the metrics of a table are taken over the images, in words."""
        return "pooled over images" if self.mode == "pooled" else "mean over images"

    def threshold(self, score: str) -> float | None:
        """Return the best-F1 threshold of a score over all pixels."""
        return self.scores[score].pooled.best_f1_threshold

    @property
    def remarks(self) -> list[str]:
        """Sentences on images that are left out and on metrics that are undefined."""
        lines = unreadable_notes(self.unreadable, self.images)
        if self.without_outliers:
            void = f" ({self.void} of them void all over)" if self.void else ""
            effect = "left out of the means" if self.mode == "per_image" else "their inliers are ranked with the others"
            lines.append(f"{self.without_outliers} of {self.images} images hold no outlier pixel{void}; {effect}")
        result = self.result(self.lead)
        if result.ap is None:
            lines.append(f"the metrics are undefined: {result.reason}")
        return lines
