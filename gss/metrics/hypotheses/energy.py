"""Generalised energy distance of samples and truths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gss.core.errors import unknown_name
from gss.core.records import Record
from gss.labels.space import IGNORE_INDEX
from gss.metrics.base import CountMetric
from gss.metrics.hypotheses.pairs import CONVENTIONS, Convention, counted_classes, pair_ious, read_set, read_weights
from gss.metrics.label_maps import check_range

UNIT = 1 << 32  # numbers of images are summed as multiples of 2^-32: integer sums do not depend on order


@dataclass(frozen=True)
class EnergyDistance(Record):
    """Squared generalised energy distance, a mean over images; None without any.

    Attributes:
        convention: name of the convention, one of `CONVENTIONS`.
        ged: 2 E d(S, Y) - E d(S, S') - E d(Y, Y') with d = 1 - IoU; 0 for equal distributions.
        cross: E d(S, Y), distance of samples and truths.
        diversity: E d(S, S'), distance of two samples.
        truth_diversity: E d(Y, Y'), distance of two truths.
        images: number of images.
    """

    convention: str
    ged: float | None
    cross: float | None
    diversity: float | None
    truth_diversity: float | None
    images: int


def expected_distance(distance: Tensor, first: Tensor, second: Tensor) -> float:
    """Return the mean of distances `[n, m]` under weights `[n]` and `[m]`."""
    return float(first @ distance @ second)


def energy_parts(
    samples: Tensor,
    truths: Tensor,
    classes: Sequence[int],
    convention: Convention,
    *,
    sample_weights: Tensor,
    truth_weights: Tensor,
    valid: Tensor | None = None,
) -> tuple[float, float, float]:
    """Return E d(S, Y), E d(S, S') and E d(Y, Y') of one image.

    The truths are taken for the whole distribution, so the pairs of a truth with itself always count.

    Args:
        samples: uint8 `[n, H, W]`.
        truths: uint8 `[m, H, W]`.
        classes: classes to average over.
        convention: how pairs are compared.
        sample_weights: float64 `[n]` of sum 1.
        truth_weights: float64 `[m]` of sum 1.
        valid: bool `[H, W]`, pixels that count.
    """

    def distance(first: Tensor, second: Tensor) -> Tensor:
        return 1 - pair_ious(first, second, classes, absent=convention.absent, valid=valid).cpu()

    cross = expected_distance(distance(samples, truths), sample_weights, truth_weights)
    within = distance(samples, samples)
    diversity = expected_distance(within, sample_weights, sample_weights)
    if convention.unbiased:
        # A sample with itself has distance 0: only the weight of these pairs is left out.
        other = 1 - float((sample_weights**2).sum())
        diversity = diversity / other if other > 0 else 0.0
    return cross, diversity, expected_distance(distance(truths, truths), truth_weights, truth_weights)


class GeneralisedEnergyDistance(CountMetric):
    """Mean over images of the squared generalised energy distance.

    Args:
        num_classes: K.
        convention: one of `CONVENTIONS`.
        classes: classes that the IoU averages over, such as those that flip; None for all.
        options: arguments of `torchmetrics.Metric`.

    Attributes:
        sums: int64 `[4]`: images, then the three expectations in units of 2^-32.

    Raises:
        InputError: unknown convention or classes.
    """

    higher_is_better = False
    sums: Tensor

    def __init__(
        self,
        num_classes: int,
        *,
        convention: str = "prob_unet",
        classes: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        check_range("num_classes", num_classes, 1, IGNORE_INDEX)
        if convention not in CONVENTIONS:
            raise unknown_name("convention", convention, CONVENTIONS)
        chosen = counted_classes(num_classes, classes, CONVENTIONS[convention])
        super().__init__({"num_classes": num_classes, "convention": convention, "classes": chosen}, options)
        self.num_classes, self.convention, self.classes = num_classes, convention, chosen
        self.add_counts("sums", 4)

    def update(
        self,
        samples: Tensor | np.ndarray,
        truths: Tensor | np.ndarray,
        *,
        sample_weights: Tensor | Sequence[float] | None = None,
        truth_weights: Tensor | Sequence[float] | None = None,
    ) -> None:
        """Count one image.

        Args:
            samples: labels `[n, H, W]`, 0..K-1.
            truths: labels `[m, H, W]`; pixels that are 255 in any of them do not count.
            sample_weights: weights of the samples; equal if None.
            truth_weights: probabilities of the truths; equal if None.

        Raises:
            InputError: shapes, labels or weights do not fit.
        """
        samples = read_set("samples", samples, self.num_classes)
        truths = read_set("truths", truths, self.num_classes, void=True).to(samples.device)
        parts = energy_parts(
            samples,
            truths,
            self.classes,
            CONVENTIONS[self.convention],
            sample_weights=read_weights("sample_weights", sample_weights, len(samples)),
            truth_weights=read_weights("truth_weights", truth_weights, len(truths)),
            valid=(truths != IGNORE_INDEX).all(0),
        )
        self.sums += torch.tensor([1, *(round(part * UNIT) for part in parts)], device=self.device)

    def compute(self) -> EnergyDistance:
        """Divide the sums."""
        images, *sums = self.sums.tolist()
        if not images:
            return EnergyDistance(self.convention, None, None, None, None, 0)
        cross, diversity, truth_diversity = (part / UNIT / images for part in sums)
        ged = 2 * cross - diversity - truth_diversity
        return EnergyDistance(self.convention, ged, cross, diversity, truth_diversity, images)
