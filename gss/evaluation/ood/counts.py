"""Counts of one score over the images of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gss.core.errors import InputError
from gss.evaluation.ood.maps import PREDICTION, Frame
from gss.evaluation.ood.result import OpenSetScore, ScoreResult
from gss.metrics.ood import OODMetrics
from gss.metrics.open_set import OpenSetMetrics

CURVE_POINTS = 200


class ScoreCounts:
    """Counts of one score; integer sums, and records of single images.

    Args:
        name: name of the score.
        exact: whether to count distinct scores, see `OODMetrics`.
        single: whether to rank every image by itself too, which takes longer than counting its pixels.
        threshold: score at or above which a pixel is rejected, for open-set metrics; `None` for none.
        known: number of known classes, with a threshold.
    """

    def __init__(
        self, name: str, *, exact: bool = False, single: bool = False, threshold: float | None = None, known: int = 0
    ) -> None:
        self.name = name
        self.pooled = OODMetrics(exact=exact)
        self.single = OODMetrics(mode="per_image") if single else None
        self.open_set = None if threshold is None else OpenSetMetrics(known, threshold)

    def update(self, frame: Frame) -> None:
        """Count one image.

        Raises:
            InputError: a counted score is NaN; names score and image.
        """
        scores = frame.maps[self.name]
        try:
            self.pooled.update(scores, frame.truth)
            if self.single is not None:
                self.single.update(scores, frame.truth, ids=frame.id)
            if self.open_set is not None:
                self.open_set.update(frame.maps[PREDICTION], scores, frame.labels)
        except InputError as error:
            raise InputError(f"score {self.name!r} of {frame.id}: {error}") from error

    def sum_across(self) -> ScoreCounts:
        """Replace the counts by those of all processes, and return the object; call once on each of them."""
        for metric in (self.pooled, self.single, self.open_set):
            if metric is not None:
                metric.sum_across()
        return self

    def result(self, ids: Sequence[str]) -> ScoreResult:
        """Return the metrics, with the records of single images in the order of `ids`."""
        ranking = self.pooled.ranking()
        curve = histogram = per_image = open_set = None
        if ranking is not None:
            plots = ranking.curve(CURVE_POINTS), ranking.histogram()
            curve, histogram = ({key: values.tolist() for key, values in plot.items()} for plot in plots)
        if self.single is not None:
            order = {id: position for position, id in enumerate(ids)}
            per_image = self.single.compute()
            records = sorted(per_image.per_image, key=lambda record: order[record["id"]])
            per_image = replace(per_image, per_image=tuple(records))
        if self.open_set is not None:
            open_set = OpenSetScore(self.open_set.threshold, self.open_set.compute())
        return ScoreResult(self.pooled.compute(), per_image, curve, histogram, open_set=open_set)
