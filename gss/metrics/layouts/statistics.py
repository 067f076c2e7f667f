"""Class histograms, neighbouring classes and shapes of a set of masks, and distances between two sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from scipy.stats import wasserstein_distance
from torch import Tensor

from gss.core.errors import InputError
from gss.core.records import Record
from gss.labels.space import IGNORE_INDEX
from gss.metrics.base import CountMetric
from gss.metrics.label_maps import check_range

_EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True)
class LayoutDistance(Record):
    """How far two sets of masks are apart; None where there was nothing to measure.

    Attributes:
        histogram_frechet: Fréchet distance of the class histograms, |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of
            the shares of the pixels by class.
        adjacency_divergence: Jensen-Shannon divergence, in bits, of which two different classes are neighbours, above
            each other and side by side.
        components: Wasserstein-1 distance of the number of connected components of a class in an image, mean over
            the classes that either set shows.
        thickness: the same for the thickness of classes in pixels.
        components_per_image: mean number of components of an image in each set.
        masks: number of masks in each set.
    """

    histogram_frechet: float | None
    adjacency_divergence: float | None
    components: float | None
    thickness: float | None
    components_per_image: tuple[float | None, float | None]
    masks: tuple[int, int]


def adjacency_counts(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Count neighbouring pixels of different classes, int64 `[2, K, K]`.

    Args:
        labels: `[H, W]`, 255 for void.
        num_classes: K.

    Returns:
        For a pixel and the one below it, then for a pixel and the one to its right: row the first, column the second.
    """
    counts = np.zeros((2, num_classes, num_classes), np.int64)
    for axis, (first, second) in enumerate(((labels[:-1], labels[1:]), (labels[:, :-1], labels[:, 1:]))):
        kept = (first != second) & (first != IGNORE_INDEX) & (second != IGNORE_INDEX)
        pairs = first[kept].astype(np.int64) * num_classes + second[kept]
        counts[axis] = np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    return counts


def class_shapes(labels: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return number of components and thickness of every class of a mask.

    Thickness is 2 A / P with A pixels and P pixel sides between the class and others, the border of the image apart:
    the width of a long strip.

    Args:
        labels: `[H, W]`, 255 for void.
        num_classes: K.

    Returns:
        int64 `[K]`, 8-connected components; float64 `[K]`, NaN for classes that do not occur or meet no other.
    """
    components = np.zeros(num_classes, np.int64)
    thickness = np.full(num_classes, np.nan)
    for label in np.unique(labels[labels != IGNORE_INDEX]):
        shape = labels == label
        components[label] = ndimage.label(shape, _EIGHT)[1]
        sides = int((shape[1:] != shape[:-1]).sum() + (shape[:, 1:] != shape[:, :-1]).sum())
        if sides:
            thickness[label] = 2 * int(shape.sum()) / sides
    return components, thickness


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the Fréchet distance of two sets of vectors `[n, D]` and `[m, D]`, taken for Gaussians."""
    means = [rows.mean(0) for rows in (first, second)]
    covariances = [np.atleast_2d(np.cov(rows, rowvar=False, bias=True)) for rows in (first, second)]
    # tr (C1 C2)^(1/2) is the sum of the square roots of the eigenvalues of C1 C2, which are real and not negative.
    eigenvalues = np.linalg.eigvals(covariances[0] @ covariances[1]).real.clip(min=0)
    trace = np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * np.sqrt(eigenvalues).sum()
    return float(max(0.0, ((means[0] - means[1]) ** 2).sum() + trace))


def jensen_shannon(first: np.ndarray, second: np.ndarray) -> float | None:
    """Return the Jensen-Shannon divergence in bits, 0..1, of two arrays of counts; None if one is empty."""
    if not first.sum() or not second.sum():
        return None
    p, q = first.ravel() / first.sum(), second.ravel() / second.sum()
    middle = (p + q) / 2
    parts = [np.sum(part[part > 0] * np.log2(part[part > 0] / middle[part > 0])) for part in (p, q)]
    return float(max(0.0, sum(parts) / 2))


class LayoutStatistics(CountMetric):
    """Statistics of a set of masks; `compute` compares them with those of another set.

    Args:
        num_classes: K.
        options: arguments of `torchmetrics.Metric`.

    Attributes:
        histograms: float64 `[1, K]` per mask, shares of its pixels by class.
        shapes: float64 `[1, 2, K]` per mask, components and thickness.
        adjacency: int64 `[2, K, K]`, see `adjacency_counts`.
    """

    histograms: list[Tensor]
    shapes: list[Tensor]
    adjacency: Tensor

    def __init__(self, num_classes: int, **options: Any) -> None:
        check_range("num_classes", num_classes, 1, IGNORE_INDEX)
        super().__init__({"num_classes": num_classes}, options)
        self.num_classes = num_classes
        self.add_state("histograms", [], dist_reduce_fx="cat")
        self.add_state("shapes", [], dist_reduce_fx="cat")
        self.add_counts("adjacency", 2, num_classes, num_classes)

    def update(self, mask: Tensor | np.ndarray) -> None:
        """Count one mask.

        Args:
            mask: labels `[H, W]`, 0..K-1, or 255 for void.

        Raises:
            InputError: another shape, labels outside the label space, or no valid pixel.
        """
        labels = np.asarray(torch.as_tensor(mask).cpu())
        if labels.ndim != 2 or labels.dtype.kind not in "iu":
            raise InputError(f"mask must be whole numbers [H, W], got {labels.dtype} {list(labels.shape)}")
        valid = labels[labels != IGNORE_INDEX]
        if not valid.size or valid.min() < 0 or valid.max() >= self.num_classes:
            raise InputError(f"mask must hold labels 0..{self.num_classes - 1} and not only {IGNORE_INDEX}")
        counts = np.bincount(valid.ravel(), minlength=self.num_classes) / valid.size
        self.histograms.append(torch.from_numpy(counts)[None])
        shapes = np.stack(class_shapes(labels, self.num_classes)).astype(np.float64)
        self.shapes.append(torch.from_numpy(shapes)[None])
        self.adjacency += torch.from_numpy(adjacency_counts(labels, self.num_classes)).to(self.device)

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Return histograms `[n, K]` and shapes `[n, 2, K]` of all masks."""
        if not len(self.histograms):
            return np.zeros((0, self.num_classes)), np.zeros((0, 2, self.num_classes))
        stacked = [rows if isinstance(rows, Tensor) else torch.cat(rows) for rows in (self.histograms, self.shapes)]
        return stacked[0].cpu().numpy(), stacked[1].cpu().numpy()

    def compute(self, other: LayoutStatistics | None = None) -> LayoutDistance:
        """Return the distance from another set, on one process after both were summed over all.

        Args:
            other: the other set; this one itself if None, as in a `MetricCollection`.
        """
        other = self if other is None else other
        histograms, shapes = zip(self.rows(), other.rows(), strict=True)
        counts = (len(histograms[0]), len(histograms[1]))
        means = tuple(float(rows[:, 0].sum(1).mean()) if len(rows) else None for rows in shapes)
        if not min(counts):
            return LayoutDistance(None, None, None, None, (means[0], means[1]), counts)
        distances: list[list[float]] = [[], []]
        for label in range(self.num_classes):
            if not any(rows[:, 0, label].any() for rows in shapes):
                continue
            distances[0].append(wasserstein_distance(*(rows[:, 0, label] for rows in shapes)))
            present = [rows[:, 1, label][~np.isnan(rows[:, 1, label])] for rows in shapes]
            if all(len(part) for part in present):
                distances[1].append(wasserstein_distance(*present))
        return LayoutDistance(
            histogram_frechet=frechet_distance(*histograms),
            adjacency_divergence=jensen_shannon(self.adjacency.cpu().numpy(), other.adjacency.cpu().numpy()),
            components=float(np.mean(distances[0])) if distances[0] else None,
            thickness=float(np.mean(distances[1])) if distances[1] else None,
            components_per_image=(means[0], means[1]),
            masks=counts,
        )
