"""How well scores rank outliers above inliers, from counts per score or per interval of scores.

The order inside an interval is unknown, so every metric comes with bounds that hold for any order and any ties in
there; counts per distinct score give the exact metric.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gss.core.errors import unknown_name

FPR_RULES = ("first_at_least", "first_above", "nearest", "nearest_thinned")
"""Which point of the ROC curve counts as "at 95 % true positives"; published numbers use all four.

- `first_at_least`: the first with TPR >= 0.95 (Fishyscapes, SegmentMeIfYouCan);
- `first_above`: the first with TPR > 0.95 (DenseHybrid, RbA);
- `nearest`: the one with TPR nearest to 0.95, which may lie below, seen from low thresholds (the anomaly
  segmentation code of Hendrycks et al., PEBAL, RPL);
- `nearest_thinned`: the nearest seen from high thresholds, on scikit-learn's curve without its collinear
  points (ADE-OoD); only exact counts can tell.
"""

KEY_BITS = 20
"""Bits of a score that a histogram keeps: sign, exponent and 11 of the mantissa, steps of 0.05 %."""
BINS = 1 << KEY_BITS

_SIGN = np.uint32(0x8000_0000)
_DROPPED = np.uint32(32 - KEY_BITS)


class Bounded(NamedTuple):
    """Metric and the bounds that certainly contain its exact value."""

    value: float
    lower: float
    upper: float


def keys_of(scores: np.ndarray) -> np.ndarray:
    """Return unsigned integers in the order of the scores.

    Args:
        scores: float32, any shape, without NaN.

    Returns:
        uint32 of the same shape; -0.0 and 0.0, which are equal, have one key.
    """
    bits = (scores + np.float32(0)).view(np.int32)  # the sum turns -0.0 into 0.0
    # Negative floats grow downwards: all their bits are flipped, of the others only the sign.
    return bits.view(np.uint32) ^ ((bits >> 31).view(np.uint32) | _SIGN)


def scores_of(keys: np.ndarray) -> np.ndarray:
    """Return the scores of keys; keys below that of minus infinity, which no score has, give minus infinity."""
    bits = np.where(keys & _SIGN, keys ^ _SIGN, ~keys).astype(np.uint32)
    scores = bits.view(np.float32)
    return np.where(np.isnan(scores), np.float32(-np.inf), scores)


def count_scores(bins: Tensor, scores: np.ndarray) -> None:
    """Add scores to a histogram, in place.

    Args:
        bins: int64 `[2^20]`, pixels by the leading 20 bits of `keys_of` the score.
        scores: float32, any shape, without NaN.
    """
    slots = torch.from_numpy((keys_of(scores) >> _DROPPED).astype(np.int64)).flatten().to(bins.device)
    bins.scatter_add_(0, slots, bins.new_ones(()).expand_as(slots))


def score_of_bin(bins: np.ndarray) -> np.ndarray:
    """Return the lowest score of each bin of a histogram, float32."""
    return scores_of(bins.astype(np.uint32) << _DROPPED)


def bin_of(threshold: float) -> int:
    """Return the first bin of a histogram whose scores are all at or above a threshold."""
    if threshold == -np.inf:
        return 0
    key = int(keys_of(np.array([threshold], np.float32))[0])
    return -(-key >> (32 - KEY_BITS))


@dataclass(frozen=True)
class Ranking:
    """Counts of outliers and inliers in descending blocks of scores.

    A block is one distinct score (`exact`), or an interval of scores whose inner order is unknown. No block is empty,
    and there is at least one outlier and one inlier.

    Args:
        scores: float32 `[N]`, lowest possible score of each block, descending.
        outliers: int64 `[N]`, outlier pixels in each block.
        inliers: int64 `[N]`, inlier pixels in each block.
        exact: whether a block is one score.
    """

    scores: np.ndarray
    outliers: np.ndarray
    inliers: np.ndarray
    exact: bool

    @cached_property
    def _above(self) -> tuple[np.ndarray, np.ndarray]:
        """Outliers and inliers in each block and all above it, float64 `[N]` each."""
        return np.cumsum(self.outliers).astype(np.float64), np.cumsum(self.inliers).astype(np.float64)

    def average_precision(self) -> Bounded:
        """Return the area under the precision-recall curve as a sum of steps (no trapezoids, as in scikit-learn).

        The value treats a block as one tie. An outlier of a block has at least the precision it would have
        after all inliers of the block, and at most the one of all its outliers before all its inliers.
        """
        true, false = self._above
        total, p = true[-1], self.outliers
        value = float((p * true / (true + false)).sum() / total)
        if self.exact:
            return Bounded(value, value, value)
        # (i + TP) / (i + TP + FP) is concave in i: its sum over the outliers is at least that of the chord.
        first = true - p + 1
        lower = (p * (first / (first + false) + true / (true + false))).sum() / (2 * total)
        upper = (p * true / np.maximum(true + false - self.inliers, 1)).sum() / total
        return Bounded(value, float(lower), float(upper))

    def auroc(self) -> Bounded:
        """Return the probability that an outlier scores above an inlier, ties counting one half."""
        true, false = self._above
        pairs = true[-1] * false[-1]
        value = float((self.inliers * (true - self.outliers / 2)).sum() / pairs)
        half = 0.0 if self.exact else float((self.inliers * self.outliers.astype(np.float64)).sum() / (2 * pairs))
        return Bounded(value, value - half, value + half)

    def fpr(self, tpr: float, rule: str) -> Bounded | None:
        """Return the false positive rate at a true positive rate.

        Args:
            tpr: true positive rate, in (0, 1).
            rule: operating point, one of `FPR_RULES`.

        Returns:
            None for `nearest_thinned` unless the counts are exact.
        """
        if rule == "nearest_thinned" and not self.exact:
            return None
        _, false = self._above
        index = self._operating_point(tpr, rule)
        value = float(false[index] / false[-1]) if index >= 0 else 0.0
        if self.exact:
            return Bounded(value, value, value)
        # The score at which the rate is reached lies in this block.
        reached = self._operating_point(tpr, "first_above" if rule == "first_above" else "first_at_least")
        last = reached
        if rule == "nearest":  # may lie up to just above the next outlier
            below = np.flatnonzero(self.outliers[reached + 1 :])
            last = reached + 1 + int(below[0]) if len(below) else reached
        low, high = false[reached] - self.inliers[reached], false[last]
        return Bounded(value, float(low / false[-1]), float(high / false[-1]))

    def threshold(self, tpr: float, rule: str = "first_at_least") -> float:
        """Return the score of the operating point: `score >= threshold` gives its true and false positives."""
        index = self._operating_point(tpr, rule)
        return float(self.scores[index]) if index >= 0 else float("inf")

    def best_f1(self) -> tuple[Bounded, float]:
        """Return the largest F1 of the decision `score >= threshold`, and this threshold.

        The value belongs to the threshold, so it is also the lower bound.
        """
        true, false = self._above
        f1 = 2 * true / (true[-1] + true + false)
        index = int(f1.argmax())
        upper = f1 if self.exact else 2 * true / (true[-1] + true + false - self.inliers)
        return Bounded(float(f1[index]), float(f1[index]), float(upper.max())), float(self.scores[index])

    def curve(self, points: int = 500) -> dict[str, np.ndarray]:
        """Return the ROC and precision-recall curve for drawing.

        Args:
            points: approximate number of points, spread evenly over both rates.

        Returns:
            `threshold`, `tpr` (= recall), `fpr`, `precision`: float64, by descending threshold.
        """
        true, false = self._above
        steps = np.linspace(0, 1, max(points // 2, 2))
        chosen = [np.searchsorted(rates / rates[-1], steps) for rates in (true, false)]
        index = np.unique(np.concatenate([*chosen, [0, len(true) - 1]]).clip(max=len(true) - 1))
        tp, fp = true[index], false[index]
        return {
            "threshold": self.scores[index].astype(np.float64),
            "tpr": tp / true[-1],
            "fpr": fp / false[-1],
            "precision": tp / (tp + fp),
        }

    def histogram(self, bins: int = 60) -> dict[str, np.ndarray]:
        """Return shares of the outliers and of the inliers over equal intervals of the score, for drawing.

        The intervals span all but the outer 0.1 % of the inliers and of the outliers at each end, which are
        counted in the first and last interval.

        Args:
            bins: number of intervals, at least 1.

        Returns:
            `edges` `[bins + 1]`, `outliers` and `inliers` `[bins]`, each summing to 1.
        """
        finite = np.isfinite(self.scores)
        scores = np.clip(self.scores.astype(np.float64), *_span(self.scores[finite]))
        ends = []
        for counts in self._above:
            inner = np.searchsorted(counts, [0.001 * counts[-1], 0.999 * counts[-1]])
            ends += scores[inner.clip(max=len(scores) - 1)].tolist()
        low, high = min(ends), max(ends)
        edges = np.linspace(low, high if high > low else low + 1, bins + 1)
        slot = np.searchsorted(edges, scores, side="right").clip(1, bins) - 1
        shares = {
            name: np.bincount(slot, weights=counts, minlength=bins) / counts.sum()
            for name, counts in (("outliers", self.outliers), ("inliers", self.inliers))
        }
        return {"edges": edges, **shares}

    def _operating_point(self, tpr: float, rule: str) -> int:
        """Return the index of the last block that counts as outliers; -1 for none."""
        if rule not in FPR_RULES:
            raise unknown_name("rule", rule, FPR_RULES)
        true, false = self._above
        rates = true / true[-1]
        if rule in ("first_at_least", "first_above"):
            return int(np.searchsorted(rates, tpr, side="left" if rule == "first_at_least" else "right"))
        if rule == "nearest":
            last = int(np.searchsorted(true, true[-1]))
            return last - int(np.abs(rates[last::-1] - tpr).argmin())
        bent = np.ones(len(true), bool)
        bent[1:-1] = (np.diff(true, 2) != 0) | (np.diff(false, 2) != 0)
        kept = np.concatenate([[-1], np.flatnonzero(bent)])
        return int(kept[np.abs(np.concatenate([[0.0], rates[bent]]) - tpr).argmin()])


def _span(finite: np.ndarray) -> tuple[Any, Any]:
    return (finite.min(), finite.max()) if len(finite) else (0.0, 0.0)
