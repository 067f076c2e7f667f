"""Pixel metrics of out-of-distribution scores: AP, AUROC, FPR at 95 % TPR, best F1.

Scores may have any range and need no normalisation; higher means more out-of-distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gss.core.errors import InputError, unknown_name
from gss.core.records import Record
from gss.metrics.base import CountMetric
from gss.metrics.ranking import BINS, FPR_RULES, Bounded, Ranking, count_scores, keys_of, score_of_bin, scores_of
from gss.metrics.targets import INLIER, OUTLIER, VOID, as_numpy, check_target

MODES = ("pooled", "per_image")

_METRICS = ("ap", "auroc", *FPR_RULES)  # of one image
# Distinct scores of single updates that are kept before they are joined with the others.
_WAITING = 1 << 22


@dataclass(frozen=True)
class OODResult(Record):
    """Ranking metrics of a score; shares in 0..1, None where they are undefined.

    Args:
        mode: "pooled": all pixels in one ranking. "per_image": mean over the images that have both outliers and
            inliers. The two are not comparable.
        exact: whether the metrics are exact; otherwise they come with bounds.
        images: number of images.
        skipped: number of images that a per-image mean leaves out.
        outliers: number of outlier pixels.
        inliers: number of inlier pixels.
        tpr: true positive rate of `fpr` and `threshold_at_tpr`.
        ap: average precision.
        auroc: area under the ROC curve.
        fpr: false positive rate by rule, see `gss.metrics.ranking.FPR_RULES`.
        best_f1: largest F1 of one threshold for all pixels; pooled only, like both thresholds.
        best_f1_threshold: threshold of `best_f1`; a pixel is an outlier where `score >= threshold`.
        threshold_at_tpr: threshold of the true positive rate, by the rule `first_at_least`.
        reason: why metrics are None.
        per_image: `id`, pixel counts, `ap`, `auroc`, `fpr` (`first_at_least`) and `reason` of each image.
    """

    mode: str
    exact: bool
    images: int
    skipped: int
    outliers: int
    inliers: int
    tpr: float
    ap: Bounded | None = None
    auroc: Bounded | None = None
    fpr: dict[str, Bounded | None] = field(default_factory=lambda: dict.fromkeys(FPR_RULES))
    best_f1: Bounded | None = None
    best_f1_threshold: float | None = None
    threshold_at_tpr: float | None = None
    reason: str | None = None
    per_image: tuple[dict[str, Any], ...] = ()


class OODMetrics(CountMetric):
    """Ranking metrics of score maps against truth.

    In the default form the state is one histogram of 2^20 bins for outliers and one for inliers over an
    order-preserving integer key of the float32 score: 16 MB whatever the number of pixels and the range of the scores.
    The metrics come with bounds that contain the exact value. Scores with heavy ties (saturated or quantised ones)
    fall into few bins and widen the bounds; `exact` keeps them tight, its memory grows with the number of distinct
    scores.

    Args:
        mode: "pooled" or "per_image", see `OODResult`. Per image, every metric is exact.
        exact: count distinct scores instead of intervals (pooled mode).
        tpr: true positive rate at which the false positive rate is taken, in (0, 1).
        options: arguments of `torchmetrics.Metric`.

    Attributes:
        images: number of images, int64 `[]`.
        totals: inlier and outlier pixels, int64 `[2]`.
        bins: inlier and outlier pixels by bin of the score, int64 `[2, 2^20]`; `[2, 0]` when exact.
        inlier_scores: tables int64 `[N, 2]` of distinct keys of scores and their pixels; empty unless exact.
        outlier_scores: the same of outliers.
        records: rows int64 `[1, 9]` of the per-image mode: inliers, outliers, bytes of the name, bits of six metrics.
        names: names of these images, UTF-8 bytes.

    Raises:
        ValueError: an argument out of range.
    """

    higher_is_better = True
    images: Tensor
    totals: Tensor
    bins: Tensor
    inlier_scores: list[Tensor]
    outlier_scores: list[Tensor]
    records: list[Tensor]
    names: list[Tensor]

    def __init__(self, *, mode: str = "pooled", exact: bool = False, tpr: float = 0.95, **options: Any) -> None:
        if mode not in MODES:
            raise unknown_name("mode", mode, MODES)
        if not 0 < tpr < 1:
            raise InputError(f"tpr is {tpr}; it must lie between 0 and 1, such as 0.95")
        exact = exact or mode == "per_image"
        super().__init__({"mode": mode, "exact": exact, "tpr": tpr}, options)
        self.mode, self.exact, self.tpr = mode, exact, tpr
        self.add_counts("images")
        self.add_counts("totals", 2)
        self.add_counts("bins", 2, 0 if exact else BINS)
        for name in ("inlier_scores", "outlier_scores", "records", "names"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(
        self, scores: Tensor | np.ndarray, target: Tensor | np.ndarray, ids: Sequence[str] | str | None = None
    ) -> None:
        """Count one image or one batch.

        Args:
            scores: `[H, W]` or `[B, H, W]`, floating point, higher = more out-of-distribution. Ranked as float32;
                infinite scores are allowed.
            target: integers of the same shape: 0 in, 1 out, 255 void (not counted).
            ids: name(s) of the image(s) for the per-image records; numbers by default.

        Raises:
            ValueError: shapes differ, the truth holds other values, or a counted score is NaN; nothing is counted
                then.
        """
        values, truth = _read_scores(scores, target)
        count = 1 if truth.ndim == 2 else len(truth)
        first = int(self.images)
        names = [ids] if isinstance(ids, str) else list(ids or map(str, range(first, first + count)))
        if len(names) != count:
            raise InputError(f"ids names {len(names)} images, scores hold {count}")
        self.images += count
        if self.mode == "per_image":
            size = (count, *truth.shape[-2:])
            for name, image, labels in zip(names, values.reshape(size), truth.reshape(size), strict=True):
                self._rank_image(name, image, labels)
            return
        for group, (label, tables) in enumerate(((INLIER, self.inlier_scores), (OUTLIER, self.outlier_scores))):
            chosen = values[truth == label]
            self.totals[group] += chosen.size
            if self.exact:
                tables.append(torch.from_numpy(_table(chosen)).to(self.device))
                # At least as many as are joined already: joining then costs no more than sorting.
                if sum(map(len, tables[1:])) >= max(_WAITING, len(tables[0])):
                    tables[:] = [torch.from_numpy(_joined(tables)).to(self.device)]
            else:
                count_scores(self.bins[group], chosen)

    def ranking(self) -> Ranking | None:
        """Return counts by descending score of the pooled mode, for thresholds and curves.

        Returns:
            None where outliers or inliers are missing.

        Raises:
            ValueError: in per-image mode, where scores are not kept.
        """
        if self.mode != "pooled":
            raise InputError(f"mode is {self.mode!r}; a common ranking and thresholds need mode='pooled'")
        if not self.totals.all():
            return None
        if self.exact:
            return _exact_ranking(_joined(self.inlier_scores), _joined(self.outlier_scores))
        bins = self.bins.cpu().numpy()
        used = np.flatnonzero(bins.any(axis=0))[::-1]
        return Ranking(score_of_bin(used), bins[1, used], bins[0, used], exact=False)

    def compute(self) -> OODResult:
        """Return the metrics; undefined ones are None with a reason, never 0 or NaN."""
        inliers, outliers = self.totals.tolist()
        common: dict[str, Any] = {"mode": self.mode, "exact": self.exact, "images": int(self.images), "tpr": self.tpr}
        common |= {"outliers": outliers, "inliers": inliers}
        if self.mode == "per_image":
            return self._mean(common)
        ranking = self.ranking()
        if ranking is None:
            return OODResult(skipped=0, reason=_missing(inliers, outliers), **common)
        best, best_threshold = ranking.best_f1()
        return OODResult(
            skipped=0,
            ap=ranking.average_precision(),
            auroc=ranking.auroc(),
            fpr={rule: ranking.fpr(self.tpr, rule) for rule in FPR_RULES},
            best_f1=best,
            best_f1_threshold=best_threshold,
            threshold_at_tpr=ranking.threshold(self.tpr),
            reason=None if self.exact else "fpr by nearest_thinned needs exact counts",
            **common,
        )

    def _rank_image(self, name: str, values: np.ndarray, truth: np.ndarray) -> None:
        counts = [int((truth == label).sum()) for label in (INLIER, OUTLIER)]
        self.totals += torch.tensor(counts, device=self.device)
        metrics = [math.nan] * len(_METRICS)
        if all(counts):
            ranking = _image_ranking(values, truth)
            rates = [ranking.fpr(self.tpr, rule) for rule in FPR_RULES]
            metrics = [value.value for value in (ranking.average_precision(), ranking.auroc(), *rates) if value]
        text = name.encode(errors="surrogatepass")
        # Floats travel as their bits: states are integers, which no change of a model's precision touches.
        row = [*counts, len(text), *np.array(metrics, np.float64).view(np.int64).tolist()]
        self.records.append(torch.tensor([row], device=self.device))
        self.names.append(torch.tensor(list(text), dtype=torch.uint8, device=self.device))

    def _images(self) -> list[dict[str, Any]]:
        """Return the records of all images in order."""
        if not self.records:
            return []
        text = torch.cat(self.names).cpu().numpy().tobytes()
        records, start = [], 0
        for inliers, outliers, length, *bits in torch.cat(self.records).tolist():
            metrics = np.array(bits, np.int64).view(np.float64).tolist()
            records.append(
                {
                    "id": text[start : start + length].decode(errors="surrogatepass"),
                    "outliers": outliers,
                    "inliers": inliers,
                    **{key: None if math.isnan(value) else value for key, value in zip(_METRICS, metrics, strict=True)},
                    "reason": _missing(inliers, outliers),
                }
            )
            start += length
        return records

    def _mean(self, common: dict[str, Any]) -> OODResult:
        records = self._images()
        counted = [record for record in records if record["reason"] is None]

        def mean(key: str) -> Bounded | None:
            if not counted:
                return None
            value = math.fsum(record[key] for record in counted) / len(counted)
            return Bounded(value, value, value)

        reason = "best F1 and thresholds need one ranking of all pixels (pooled)"
        if not counted:
            reason = f"none of {common['images']} images holds both outlier and inlier pixels"
        elif len(counted) < len(records):
            reason = f"{len(records) - len(counted)} images left out of the means (see per_image); {reason}"
        kept = ("id", "outliers", "inliers", "ap", "auroc", "reason")
        return OODResult(
            skipped=len(records) - len(counted),
            ap=mean("ap"),
            auroc=mean("auroc"),
            fpr={rule: mean(rule) for rule in FPR_RULES},
            reason=reason,
            per_image=tuple(
                {key: record[key] for key in kept} | {"fpr": record["first_at_least"]} for record in records
            ),
            **common,
        )


def _read_scores(scores: Tensor | np.ndarray, target: Tensor | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return checked scores, float32, and their truth."""
    values = as_numpy(scores)
    if values.dtype.kind != "f":
        raise InputError(f"scores must be floating point, got {values.dtype}")
    truth = check_target(target, values, "scores")
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(values, np.float32)
    missing = np.isnan(values)
    if missing.any():
        missing &= truth != VOID
        if missing.any():
            where = ", ".join(map(str, np.argwhere(missing)[0].tolist()))
            raise InputError(f"scores hold {int(missing.sum())} NaN, the first at [{where}]; nothing can rank them")
    return values, truth


def _table(scores: np.ndarray) -> np.ndarray:
    """Return ascending distinct keys of scores and their pixels, int64 `[N, 2]`."""
    return np.stack(np.unique(keys_of(scores), return_counts=True), axis=1).astype(np.int64)


def _joined(tables: Sequence[Tensor]) -> np.ndarray:
    """Return the sum of several tables, as one table of ascending distinct keys."""
    rows = torch.cat(list(tables)).cpu().numpy()
    if len(tables) < 2 or not len(rows):
        return rows
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    starts = np.flatnonzero(np.concatenate([[True], rows[1:, 0] != rows[:-1, 0]]))
    return np.stack([rows[starts, 0], np.add.reduceat(rows[:, 1], starts)], axis=1)


def _image_ranking(values: np.ndarray, truth: np.ndarray) -> Ranking:
    """Return the exact ranking of one image, by one sort of all its pixels."""
    counted = truth != VOID
    # The key of a score in the upper bits, whether the pixel is an outlier in the lowest.
    marked = keys_of(values[counted]).astype(np.int64) << 1 | (truth[counted] == OUTLIER)
    marked.sort()
    keys = marked >> 1
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    outliers = np.add.reduceat(marked & 1, starts)
    inliers = np.diff(starts, append=len(keys)) - outliers
    return Ranking(scores_of(keys[starts[::-1]].astype(np.uint32)), outliers[::-1], inliers[::-1], exact=True)


def _exact_ranking(inliers: np.ndarray, outliers: np.ndarray) -> Ranking:
    """Return the exact ranking of two tables."""
    keys = np.sort(np.concatenate([inliers[:, 0], outliers[:, 0]]))  # union1d hashes, which takes ten times as long
    keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])]
    counts = np.zeros((2, len(keys)), np.int64)
    for row, table in zip(counts, (inliers, outliers), strict=True):
        row[np.searchsorted(keys, table[:, 0])] = table[:, 1]
    scores = scores_of(keys[::-1].astype(np.uint32))
    return Ranking(scores, counts[1, ::-1], counts[0, ::-1], exact=True)


def _missing(inliers: int, outliers: int) -> str | None:
    lacking = [name for name, count in (("outlier", outliers), ("inlier", inliers)) if not count]
    return f"no {' and no '.join(lacking)} pixel" if lacking else None
