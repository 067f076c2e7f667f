"""Matched IoU of samples and truths, and how often each truth is meant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment, linprog
from torch import Tensor

from gss.labels.space import IGNORE_INDEX
from gss.metrics.base import CountMetric
from gss.metrics.hypotheses.energy import UNIT
from gss.metrics.hypotheses.pairs import CONVENTIONS, counted_classes, pair_ious, read_set, read_weights

LARGEST_MATCHING = 2048
"""Largest side of a Hungarian matching; larger ones, and weighted sets, are solved as transport."""


def matched_iou(iou: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Return the mean IoU of the best matching of two weighted sets.

    Equal weights: both sets are repeated to the least common multiple of their sizes and matched one to one (Hungarian
    matching). Other weights: optimal transport with the cost 1 - IoU, of which this is the generalisation.

    Args:
        iou: `[n, m]`.
        first: weights `[n]` of sum 1.
        second: weights `[m]` of sum 1.
    """
    n, m = iou.shape
    least = math.lcm(n, m)
    if np.allclose(first, 1 / n) and np.allclose(second, 1 / m) and least <= LARGEST_MATCHING:
        repeated = np.repeat(np.repeat(iou, least // n, 0), least // m, 1)
        rows, columns = linear_sum_assignment(-repeated)
        return float(repeated[rows, columns].mean())
    # Mass x[i, j] from sample i to truth j: rows sum to `first`, columns to `second`.
    sums = np.zeros((n + m, n * m))
    for row in range(n):
        sums[row, row * m : (row + 1) * m] = 1
    for column in range(m):
        sums[n + column, column::m] = 1
    # The last sum follows from the others.
    found = linprog(-iou.ravel(), A_eq=sums[:-1], b_eq=np.concatenate([first, second])[:-1], method="highs")
    assert found.success, found.message
    return float(-found.fun)


class MatchedIoU(CountMetric):
    """Mean over images of the matched IoU of samples and truths (HM-IoU; M-IoU of MoSE with weights).

    Args:
        num_classes: K.
        classes: classes that the IoU averages over; None for all.
        foreground: follow CCDM: leave out class 0 and give two masks without a class IoU 1. By default, classes that
            neither shows are left out.
        options: arguments of `torchmetrics.Metric`.

    Attributes:
        sums: int64 `[2]`: images, and their IoU in units of 2^-32.
    """

    higher_is_better = True
    sums: Tensor

    def __init__(
        self, num_classes: int, *, classes: Sequence[int] | None = None, foreground: bool = False, **options: Any
    ) -> None:
        convention = CONVENTIONS["ccdm" if foreground else "prob_unet"]
        chosen = counted_classes(num_classes, classes, convention)
        super().__init__({"num_classes": num_classes, "classes": chosen, "foreground": foreground}, options)
        self.num_classes, self.classes, self.convention = num_classes, chosen, convention
        self.add_counts("sums", 2)

    def update(
        self,
        samples: Tensor | np.ndarray,
        truths: Tensor | np.ndarray,
        *,
        sample_weights: Tensor | Sequence[float] | None = None,
        truth_weights: Tensor | Sequence[float] | None = None,
    ) -> None:
        """Count one image; arguments as in `GeneralisedEnergyDistance.update`."""
        samples = read_set("samples", samples, self.num_classes)
        truths = read_set("truths", truths, self.num_classes, void=True).to(samples.device)
        valid = (truths != IGNORE_INDEX).all(0)
        iou = pair_ious(samples, truths, self.classes, absent=self.convention.absent, valid=valid)
        weights = [
            read_weights(name, values, count).numpy()
            for name, values, count in (
                ("sample_weights", sample_weights, len(samples)),
                ("truth_weights", truth_weights, len(truths)),
            )
        ]
        value = matched_iou(iou.cpu().numpy(), *weights)
        self.sums += torch.tensor([1, round(value * UNIT)], device=self.device)

    def compute(self) -> float | None:
        """Return the mean over images; None without any."""
        images, total = self.sums.tolist()
        return total / UNIT / images if images else None


class ModeCalibration(CountMetric):
    """How often samples mean each mode, against the probabilities of the modes.

    A sample means the mode that is nearest in d = 1 - IoU.

    Args:
        num_classes: K.
        modes: number of modes M.
        classes: classes that the IoU averages over; None for all.
        options: arguments of `torchmetrics.Metric`.

    Attributes:
        hits: int64 `[M]`, samples by nearest mode.
        expected: int64 `[M]`, sum of the probabilities of the modes over samples, in units of 2^-32.
    """

    hits: Tensor
    expected: Tensor

    def __init__(self, num_classes: int, modes: int, *, classes: Sequence[int] | None = None, **options: Any) -> None:
        chosen = counted_classes(num_classes, classes, CONVENTIONS["prob_unet"])
        super().__init__({"num_classes": num_classes, "modes": modes, "classes": chosen}, options)
        self.num_classes, self.modes, self.classes = num_classes, modes, chosen
        self.add_counts("hits", modes)
        self.add_counts("expected", modes)

    def update(
        self, samples: Tensor | np.ndarray, truths: Tensor | np.ndarray, probabilities: Tensor | Sequence[float]
    ) -> None:
        """Count one image.

        Args:
            samples: labels `[n, H, W]`, 0..K-1.
            truths: labels of the modes `[M, H, W]`, always in the same order.
            probabilities: of the modes `[M]`. Of modes that look the same in this image, such as where a class that
                flips does not occur, the first gets the hits and the probability of all.
        """
        samples = read_set("samples", samples, self.num_classes)
        truths = read_set("truths", truths, self.num_classes, void=True).to(samples.device)
        valid = (truths != IGNORE_INDEX).all(0)
        chances = read_weights("probabilities", probabilities, self.modes)
        iou = pair_ious(samples, truths, self.classes, absent="left out", valid=valid).cpu()
        same = pair_ious(truths, truths, self.classes, absent="left out", valid=valid).cpu() == 1
        first = same.int().argmax(1)  # of the modes that look like this one
        merged = torch.zeros_like(chances).index_add_(0, first, chances)
        self.hits += torch.bincount(first[iou.argmax(1)], minlength=self.modes).to(self.device)
        self.expected += (merged * len(samples) * UNIT).round().long().to(self.device)

    def compute(self) -> dict[str, Any]:
        """Return frequencies.

        Returns:
            `found` and `expected`: shares of the samples by mode, lists of M; `l1`: sum of their differences, 0 to 2,
            None without samples.
        """
        count = int(self.hits.sum())
        if not count:
            return {"found": [None] * self.modes, "expected": [None] * self.modes, "l1": None}
        found = (self.hits.double() / count).tolist()
        expected = (self.expected.double() / UNIT / count).tolist()
        return {
            "found": found,
            "expected": expected,
            "l1": sum(abs(a - b) for a, b in zip(found, expected, strict=True)),
        }
