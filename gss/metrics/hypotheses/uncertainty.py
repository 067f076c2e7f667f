"""How well an uncertainty finds the wrong pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gss.core.errors import InputError
from gss.core.records import Record
from gss.labels.space import IGNORE_INDEX
from gss.metrics.base import CountMetric
from gss.metrics.ranking import BINS, Ranking, count_scores, score_of_bin


@dataclass(frozen=True)
class UncertaintyResult(Record):
    """Uncertainty against error; None where no pixel, no wrong or no right one was counted.

    Attributes:
        auroc: probability that a wrong pixel is more uncertain than a right one.
        aurc: area under the risk-coverage curve: mean, over all shares of the most certain pixels, of their error.
        excess_aurc: `aurc` minus that of the best order of the same errors.
        found_at_5: share of the wrong pixels among the 5 % most uncertain ones.
        error: share of wrong pixels.
        pixels: number of pixels.
    """

    auroc: float | None
    aurc: float | None
    excess_aurc: float | None
    found_at_5: float | None
    error: float | None
    pixels: int


class UncertaintyQuality(CountMetric):
    """Uncertainty of pixels against whether their class is wrong.

    Uncertainties are counted in steps of 0.05 % of their value; pixels of one step are ties.

    Args:
        options: arguments of `torchmetrics.Metric`.

    Attributes:
        wrong: int64 `[2^20]`, wrong pixels by step, ascending.
        right: int64 `[2^20]`, the others.
    """

    higher_is_better = True
    wrong: Tensor
    right: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__({}, options)
        self.add_counts("wrong", BINS)
        self.add_counts("right", BINS)

    def update(
        self, uncertainty: Tensor | np.ndarray, prediction: Tensor | np.ndarray, target: Tensor | np.ndarray
    ) -> None:
        """Count one image.

        Args:
            uncertainty: real numbers `[H, W]`, higher is less certain.
            prediction: labels `[H, W]`.
            target: true labels `[H, W]`, 255 for void.

        Raises:
            InputError: shapes differ, or the uncertainty holds NaN.
        """
        scores = np.asarray(torch.as_tensor(uncertainty).cpu(), np.float32)
        labels, truth = (np.asarray(torch.as_tensor(part).cpu()) for part in (prediction, target))
        if not scores.shape == labels.shape == truth.shape:
            raise InputError(f"uncertainty, prediction and target are {scores.shape}, {labels.shape}, {truth.shape}")
        if np.isnan(scores).any():
            raise InputError("uncertainty holds NaN")
        valid = truth != IGNORE_INDEX
        errors = labels != truth
        count_scores(self.wrong, scores[valid & errors])
        count_scores(self.right, scores[valid & ~errors])

    def compute(self) -> UncertaintyResult:
        """Divide the counts."""
        wrong, right = (state.cpu().numpy() for state in (self.wrong, self.right))
        pixels, errors = int(wrong.sum() + right.sum()), int(wrong.sum())
        if not pixels:
            return UncertaintyResult(None, None, None, None, None, 0)
        steps = np.flatnonzero(wrong + right)
        aurc = risk_coverage_area(wrong[steps], right[steps])
        best = risk_coverage_area(np.array([0, errors]), np.array([pixels - errors, 0]))
        auroc = found = None
        if 0 < errors < pixels:
            down = steps[::-1]
            ranking = Ranking(score_of_bin(down), wrong[down], right[down], exact=True)
            auroc = ranking.auroc().value
        if errors:
            seen = np.cumsum((wrong + right)[steps[::-1]])
            hits = np.cumsum(wrong[steps[::-1]])
            # Part of a step counts in proportion: its pixels are ties.
            found = float(np.interp(0.05 * pixels, [0, *seen], [0, *hits]) / errors)
        return UncertaintyResult(auroc, aurc, aurc - best, found, errors / pixels, pixels)


def risk_coverage_area(wrong: np.ndarray, right: np.ndarray) -> float:
    """Return the area under the risk-coverage curve.

    With the N pixels in ascending order of uncertainty, it is the mean over n = 1..N of the share of wrong pixels
    among the first n. Pixels of a tie have their mean error.

    Args:
        wrong: wrong pixels of each distinct uncertainty, ascending.
        right: the others.
    """
    count = (wrong + right).astype(np.float64)
    wrong = wrong[count > 0].astype(np.float64)
    count = count[count > 0]
    before, errors = np.cumsum(count) - count, np.cumsum(wrong) - wrong
    rate = wrong / count
    # Sum over i = 1..c of (E + r i) / (B + i) = r c + (E - r B) (H(B + c) - H(B)) with harmonic numbers H.
    harmonic = _harmonic(before + count) - _harmonic(before)
    return float((rate * count + (errors - rate * before) * harmonic).sum() / count.sum())


def _harmonic(n: np.ndarray) -> np.ndarray:
    """Return 1 + 1/2 + ... + 1/n for whole numbers from 0."""
    small = n < 64
    table = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, 65))])
    large = np.maximum(n, 1)
    series = np.log(large) + np.euler_gamma + 1 / (2 * large) - 1 / (12 * large**2) + 1 / (120 * large**4)
    return np.where(small, table[np.minimum(n, 64).astype(int)], series)
