"""Nearest neighbours between sets of masks: precision, recall, density, coverage, and copies of training masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gss.core.errors import InputError
from gss.core.records import Record
from gss.labels.space import IGNORE_INDEX
from gss.metrics.base import CountMetric
from gss.metrics.label_maps import check_range


@dataclass(frozen=True)
class NeighbourResult(Record):
    """Generated masks among real ones, by k-nearest-neighbour balls; None without enough masks.

    Attributes:
        precision: share of generated masks inside the ball of a real one.
        recall: share of real masks inside the ball of a generated one.
        density: mean number of real balls around a generated mask, divided by k; above 1 where masks are typical.
        coverage: share of real masks with a generated one inside their ball.
        neighbours: k.
    """

    precision: float | None
    recall: float | None
    density: float | None
    coverage: float | None
    neighbours: int


@dataclass(frozen=True)
class NearestResult(Record):
    """Distance of masks from their nearest training mask; None without masks.

    Attributes:
        mean: mean distance, share of pixels that differ.
        least: smallest distance.
        authentic: share of masks that are farther from their nearest training mask than this is from its own nearest
            training mask; near 0 for copies (Alaa et al., ICML 2022).
        index: number of the nearest training mask of each mask.
        distance: its distance.
    """

    mean: float | None
    least: float | None
    authentic: float | None
    index: tuple[int, ...]
    distance: tuple[float, ...]


def neighbour_figures(real: np.ndarray, cross: np.ndarray, fake: np.ndarray, k: int) -> NeighbourResult:
    """Return precision, recall, density and coverage (Naeem et al., ICML 2020).

    The ball of a mask reaches to its k-th nearest neighbour in its own set, without that one: points at the same
    distance are outside.

    Args:
        real: distances between real masks `[n, n]`.
        cross: distances from real to generated masks `[n, m]`.
        fake: distances between generated masks `[m, m]`.
        k: number of neighbours.
    """
    if min(len(real), len(fake)) <= k:
        return NeighbourResult(None, None, None, None, k)
    # The nearest of all is the mask itself, at distance 0.
    real_radius, fake_radius = (np.partition(part, k, axis=1)[:, k] for part in (real, fake))
    inside_real = cross < real_radius[:, None]
    inside_fake = cross < fake_radius[None]
    return NeighbourResult(
        precision=float(inside_real.any(0).mean()),
        recall=float(inside_fake.any(1).mean()),
        density=float(inside_real.sum(0).mean() / k),
        coverage=float((cross.min(1) < real_radius).mean()),
        neighbours=k,
    )


def nearest_figures(masks: np.ndarray, train: np.ndarray) -> NearestResult:
    """Return how far masks are from the training masks.

    Args:
        masks: distances from masks to training masks `[m, n]`.
        train: distances between training masks `[n, n]`.
    """
    if not masks.size:
        return NearestResult(None, None, None, (), ())
    index, distance = masks.argmin(1), masks.min(1)
    authentic = None
    if len(train) > 1:
        others = train + np.diag(np.full(len(train), np.inf))
        authentic = float((distance > others.min(1)[index]).mean())
    return NearestResult(
        mean=float(distance.mean()),
        least=float(distance.min()),
        authentic=authentic,
        index=tuple(index.tolist()),
        distance=tuple(distance.tolist()),
    )


class MaskDistances(CountMetric):
    """A set of masks, kept small; `compute` returns distances from those of another set.

    The distance of two masks is the share of their pixels that differ, at `size`, where neither is void.

    Args:
        num_classes: K.
        size: (H, W) that masks are kept at, by their nearest pixels.
        options: arguments of `torchmetrics.Metric`.

    Attributes:
        masks: uint8 `[1, H, W]` per mask.
    """

    masks: list[Tensor]

    def __init__(self, num_classes: int, *, size: tuple[int, int] = (48, 64), **options: Any) -> None:
        check_range("num_classes", num_classes, 1, IGNORE_INDEX)
        super().__init__({"num_classes": num_classes, "size": size}, options)
        self.num_classes, self.size = num_classes, size
        self.add_state("masks", [], dist_reduce_fx="cat")

    def update(self, mask: Tensor | np.ndarray) -> None:
        """Add one mask, labels `[H, W]`, 0..K-1, or 255 for void.

        Raises:
            InputError: another shape or other labels.
        """
        labels = torch.as_tensor(mask)
        wrong = (labels < 0) | ((labels >= self.num_classes) & (labels != IGNORE_INDEX))
        if labels.ndim != 2 or labels.is_floating_point() or wrong.any():
            raise InputError(f"mask must hold labels 0..{self.num_classes - 1} or 255 [H, W], got {list(labels.shape)}")
        small = F.interpolate(labels[None, None].float(), size=self.size, mode="nearest-exact")[0]
        self.masks.append(small.to(torch.uint8))

    def rows(self) -> Tensor:
        """Return all masks, uint8 `[n, H, W]`."""
        if not len(self.masks):
            return torch.zeros(0, *self.size, dtype=torch.uint8)
        return self.masks if isinstance(self.masks, Tensor) else torch.cat(self.masks)

    def compute(self, other: MaskDistances | None = None) -> np.ndarray:
        """Return the distances `[n, m]` of these masks from those of another set; 1 where no pixel can be compared.

        Args:
            other: the other set; this one itself if None, as in a `MetricCollection`.
        """
        other = self if other is None else other
        if other.settings != self.settings:
            raise InputError(f"cannot compare masks with {self.settings} and {other.settings}")
        rows, columns = self.rows().flatten(1), other.rows().flatten(1)
        valid = (rows != IGNORE_INDEX).float() @ (columns != IGNORE_INDEX).float().t()
        equal = torch.zeros_like(valid)
        for label in range(self.num_classes):
            equal += (rows == label).float() @ (columns == label).float().t()
        return (1 - equal.double() / valid.double().clamp(min=1)).cpu().numpy()
