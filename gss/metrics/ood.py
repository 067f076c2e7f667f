"""Pixel metrics of out-of-distribution scores: AP, AUROC, FPR at 95 % TPR, best F1, streaming and mergeable.

Scores may have any range and need no normalisation; higher means more out-of-distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gss.core.distributed import gather_objects, sum_across
from gss.core.errors import InputError
from gss.metrics.ranking import FPR_RULES, Bounded, Ranking, keys_of, scores_of
from gss.metrics.targets import INLIER, OUTLIER, as_numpy, check_target

MODES = ("pooled", "per_image")
KEY_BITS = 20
"""Bits of a score that the histogram keeps: sign, exponent and 11 of the mantissa, steps of 0.05 %."""

_FLUSH = 1 << 22  # pixels gathered before they are counted, so that small images do not pay for a whole histogram


@dataclass(frozen=True)
class OODResult:
    """What `OODMetrics.compute` found; figures are fractions, `None` where they are undefined.

    Args:
        mode: `pooled`: all pixels in one ranking. `per_image`: mean over the images that have both outliers
            and inliers. The two are not comparable.
        exact: whether the figures are exact; otherwise they come with bounds.
        images: images seen; skipped: those a per-image mean leaves out.
        outliers, inliers: pixels counted.
        tpr: true positive rate of `fpr` and `threshold_at_tpr`.
        ap: average precision; auroc: area under the ROC curve.
        fpr: false positive rate by rule, see `gss.metrics.ranking.FPR_RULES`.
        best_f1: largest F1 of one threshold for all pixels; pooled only, like both thresholds.
        best_f1_threshold, threshold_at_tpr: decide for outlier where `score >= threshold`; the latter by the
            rule `first_at_least`.
        reason: why figures are `None`.
        per_image: of each image its `id`, pixel counts, `ap`, `auroc`, `fpr` (`first_at_least`) and `reason`.
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

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; a bounded figure becomes `{"value", "lower", "upper"}`."""

        def plain(figure: Any) -> Any:
            return figure._asdict() if isinstance(figure, Bounded) else figure

        shown = {part.name: plain(getattr(self, part.name)) for part in fields(self)}
        return shown | {"fpr": {rule: plain(figure) for rule, figure in self.fpr.items()}}


class _Table:
    """Counts of distinct keys; memory grows with their number."""

    def __init__(self) -> None:
        self.keys, self.counts = np.empty(0, np.uint32), np.empty(0, np.int64)

    def add(self, keys: np.ndarray, counts: np.ndarray) -> None:
        """Add ascending distinct keys with their counts."""
        slot = np.searchsorted(self.keys, keys)
        known = np.zeros(len(keys), bool)
        inside = slot < len(self.keys)
        known[inside] = self.keys[slot[inside]] == keys[inside]
        self.counts[slot[known]] += counts[known]
        self.keys = np.insert(self.keys, slot[~known], keys[~known])
        self.counts = np.insert(self.counts, slot[~known], counts[~known])


class OODMetrics:
    """Streaming ranking metrics of score maps against truth.

    In the default form the state is one histogram of 2^20 bins for outliers and one for inliers over an
    order-preserving integer key of the float32 score: 16 MB whatever the number of pixels and the range of the
    scores, equal for any order of the images, summed over processes as integers. The figures come with bounds
    that contain the exact value. Scores with heavy ties (saturated or quantised ones) fall into few bins and
    widen the bounds; `exact` keeps them tight, its memory grows with the number of distinct scores.

    Args:
        mode: `pooled` or `per_image`, see `OODResult`. Per image, every figure is exact.
        exact: count distinct scores instead of intervals (pooled mode).
        tpr: true positive rate at which the false positive rate is taken, in (0, 1).

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(self, *, mode: str = "pooled", exact: bool = False, tpr: float = 0.95) -> None:
        if mode not in MODES:
            raise InputError(f"mode is {mode!r}; choose from {', '.join(MODES)}")
        if not 0 < tpr < 1:
            raise InputError(f"tpr is {tpr}; it must lie between 0 and 1, such as 0.95")
        self.mode, self.exact, self.tpr = mode, exact or mode == "per_image", tpr
        self.images = 0
        self._totals = np.zeros(2, np.int64)
        self._records: list[dict[str, Any]] = []
        self._tables = _Table(), _Table()  # inliers, outliers; used when exact
        self._bins = np.zeros((2, 0 if self.exact else 1 << KEY_BITS), np.int64)
        self._pending: tuple[list[np.ndarray], list[np.ndarray]] = [], []
        self._waiting = 0

    def update(
        self, scores: Tensor | np.ndarray, target: Tensor | np.ndarray, ids: Sequence[str] | str | None = None
    ) -> None:
        """Count one image or one batch.

        Args:
            scores: `[H, W]` or `[B, H, W]`, floating point, higher = more out-of-distribution. Ranked as
                float32; infinite scores are allowed.
            target: integers of the same shape: 0 in, 1 out, 255 void (not counted).
            ids: name(s) of the image(s) for the per-image records; numbers by default.

        Raises:
            ValueError: shapes differ, the truth holds other values, or a counted score is NaN; nothing is
                counted then.
        """
        values = as_numpy(scores)
        if values.dtype.kind != "f":
            raise InputError(f"scores must be floating point, got {values.dtype}")
        truth = check_target(target, values, "scores")
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(values, np.float32)
        missing = np.isnan(values)
        if missing.any():
            missing &= truth != 255
            if missing.any():
                where = ", ".join(map(str, np.argwhere(missing)[0].tolist()))
                raise InputError(f"scores hold {int(missing.sum())} NaN, the first at [{where}]; nothing can rank them")
        count = 1 if truth.ndim == 2 else len(truth)
        names = [ids] if isinstance(ids, str) else list(ids or map(str, range(self.images, self.images + count)))
        if len(names) != count:
            raise InputError(f"ids names {len(names)} images, scores hold {count}")
        self.images += count
        if self.mode == "per_image":
            size = (count, *truth.shape[-2:])
            for name, image, labels in zip(names, values.reshape(size), truth.reshape(size), strict=True):
                self._rank_image(name, image, labels)
            return
        for group, label in enumerate((INLIER, OUTLIER)):
            keys = keys_of(values[truth == label])
            self._totals[group] += keys.size
            self._pending[group].append(keys)
            self._waiting += keys.size
        # As many as the tables hold already: inserting then costs no more than sorting.
        if self._waiting >= max(_FLUSH, *(table.keys.size for table in self._tables)):
            self._flush()

    def _flush(self) -> None:
        for group, arrays in enumerate(self._pending):
            keys = np.concatenate(arrays) if arrays else np.empty(0, np.uint32)
            arrays.clear()
            if keys.size and self.exact:
                self._tables[group].add(*np.unique(keys, return_counts=True))
            elif keys.size:
                self._bins[group] += np.bincount(keys >> np.uint32(32 - KEY_BITS), minlength=1 << KEY_BITS)
        self._waiting = 0

    def _rank_image(self, name: str, values: np.ndarray, truth: np.ndarray) -> None:
        tables = [np.unique(keys_of(values[truth == label]), return_counts=True) for label in (INLIER, OUTLIER)]
        inliers, outliers = (int(counts.sum()) for _, counts in tables)
        self._totals += (inliers, outliers)
        record: dict[str, Any] = {"id": name, "outliers": outliers, "inliers": inliers}
        ranking = _join(*tables) if inliers and outliers else None
        record["ap"] = ranking.average_precision().value if ranking else None
        record["auroc"] = ranking.auroc().value if ranking else None
        for rule in FPR_RULES:
            figure = ranking.fpr(self.tpr, rule) if ranking else None
            record[rule] = figure.value if figure else None
        self._records.append(record | {"reason": _missing(inliers, outliers)})

    def ranking(self) -> Ranking | None:
        """Counts by descending score of the pooled mode, for thresholds and curves.

        Returns:
            None where outliers or inliers are missing.

        Raises:
            ValueError: in per-image mode, where scores are not kept.
        """
        if self.mode != "pooled":
            raise InputError(f"mode is {self.mode!r}; a common ranking and thresholds need mode='pooled'")
        self._flush()
        if not self._totals.all():
            return None
        if self.exact:
            return _join(*((table.keys, table.counts) for table in self._tables))
        used = np.flatnonzero(self._bins.any(axis=0))[::-1]
        lowest = scores_of(used.astype(np.uint32) << np.uint32(32 - KEY_BITS))
        return Ranking(lowest, self._bins[1, used], self._bins[0, used], exact=False)

    def merge(self, other: OODMetrics) -> None:
        """Add the counts of another object, as if its images had been counted here.

        Raises:
            ValueError: the other object was made with other settings.
        """
        mine, theirs = ((m.mode, m.exact, m.tpr) for m in (self, other))
        if mine != theirs:
            raise InputError(f"cannot merge metrics of (mode, exact, tpr) {theirs} into {mine}")
        other._flush()
        self._flush()
        self.images += other.images
        self._totals += other._totals
        self._records += other._records
        self._bins += other._bins
        for table, more in zip(self._tables, other._tables, strict=True):
            table.add(more.keys, more.counts)

    def state(self) -> Tensor:
        """All sums as one int64 vector; vectors of equal settings add up.

        Distinct scores and per-image records are no sums and not in it; `sum_across` moves them too.
        """
        self._flush()
        return torch.from_numpy(np.concatenate([[self.images], self._totals, self._bins.ravel()]))

    def sum_across(self) -> None:
        """Replace the counts by those of all processes; call once on each process before `compute`."""
        state = sum_across(self.state()).to("cpu", torch.int64).numpy()
        self.images, self._totals = int(state[0]), state[1:3].copy()
        self._bins = state[3:].reshape(2, -1).copy()
        if not self.exact:
            return
        gathered = gather_objects(([(t.keys, t.counts) for t in self._tables], self._records))
        self._tables, self._records = (_Table(), _Table()), []
        for tables, records in gathered:
            self._records += records
            for table, (keys, counts) in zip(self._tables, tables, strict=True):
                table.add(keys, counts)

    def compute(self) -> OODResult:
        """The figures; undefined ones are `None` with a reason, never 0 or NaN."""
        inliers, outliers = (int(total) for total in self._totals)
        common: dict[str, Any] = {"mode": self.mode, "exact": self.exact, "images": self.images, "tpr": self.tpr}
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

    def _mean(self, common: dict[str, Any]) -> OODResult:
        counted = [record for record in self._records if record["reason"] is None]

        def mean(key: str) -> Bounded | None:
            if not counted:
                return None
            value = math.fsum(record[key] for record in counted) / len(counted)
            return Bounded(value, value, value)

        reason = "best F1 and thresholds need one ranking of all pixels (pooled)"
        if not counted:
            reason = f"none of {self.images} images holds both outlier and inlier pixels"
        elif len(counted) < len(self._records):
            reason = f"{len(self._records) - len(counted)} images left out of the means (see per_image); {reason}"
        shown = [
            {key: record[key] for key in ("id", "outliers", "inliers", "ap", "auroc", "reason")}
            | {"fpr": record["first_at_least"]}
            for record in self._records
        ]
        return OODResult(
            skipped=len(self._records) - len(counted),
            ap=mean("ap"),
            auroc=mean("auroc"),
            fpr={rule: mean(rule) for rule in FPR_RULES},
            reason=reason,
            per_image=tuple(shown),
            **common,
        )


def _join(inliers: tuple[np.ndarray, np.ndarray], outliers: tuple[np.ndarray, np.ndarray]) -> Ranking:
    """Exact ranking from the ascending distinct keys and their counts in both groups."""
    keys = np.sort(np.concatenate([inliers[0], outliers[0]]))  # union1d hashes, which takes ten times as long
    keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])]
    counts = np.zeros((2, len(keys)), np.int64)
    for row, (own, number) in zip(counts, (inliers, outliers), strict=True):
        row[np.searchsorted(keys, own)] = number
    return Ranking(scores_of(keys[::-1]), counts[1, ::-1], counts[0, ::-1], exact=True)


def _missing(inliers: int, outliers: int) -> str | None:
    lacking = [name for name, count in (("outlier", outliers), ("inlier", inliers)) if not count]
    return f"no {' and no '.join(lacking)} pixel" if lacking else None
