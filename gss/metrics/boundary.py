"""Boundary F-measure: how well the outlines of predicted regions follow the true ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gss.labels.space import IGNORE_INDEX
from gss.metrics.base import CountMetric
from gss.metrics.label_maps import LabelMaps, check_range, read_maps
from gss.metrics.means import mean


class BoundaryF(CountMetric):
    """Boundary F-measure of each class, counted over the whole data set.

    Boundary pixels of class c are pixels labelled c with a 4-neighbour of another class inside the image. A predicted
    boundary pixel is correct when a true boundary pixel of the same class lies within `boundary_px` (Euclidean, the
    disk of Perazzi et al., CVPR 2016); a true one is found when a predicted one lies within that distance. Precision
    and recall divide the sums over all images (Csurka et al., BMVC 2013, average per image instead, which lets tiny
    regions dominate), F is their harmonic mean.

    Void (255): a step from a class to void is not a true boundary. Predicted boundary pixels on void, and unmatched
    ones within `boundary_px` of void (the true border may lie under it), are neither right nor wrong, but true ones
    may be found by them.

    Args:
        num_classes: K, 1 to 255.
        boundary_px: tolerance in pixels, 0 to 64.
        options: arguments of `torchmetrics.Metric`.

    Raises:
        ValueError: an argument is out of range.
    """

    higher_is_better = True
    boundary_counts: Tensor

    def __init__(self, num_classes: int, *, boundary_px: int = 3, **options: Any) -> None:
        check_range("num_classes", num_classes, 1, IGNORE_INDEX)
        check_range("boundary_px", boundary_px, 0, 64)
        super().__init__({"num_classes": num_classes, "boundary_px": boundary_px}, options)
        self.num_classes, self.boundary_px = num_classes, boundary_px
        self.add_counts("boundary_counts", 4, num_classes)

    def update(self, prediction: Tensor | np.ndarray, target: Tensor | np.ndarray) -> None:
        """Count one image or one batch; arguments and errors as of `SegmentationMetrics.update`."""
        maps = read_maps(prediction, target, self.num_classes)
        self.boundary_counts += boundary_counts(maps, self.num_classes, self.boundary_px).to(self.device)

    def compute(self) -> dict[str, Any]:
        """Return `boundary_f`, the mean, and `boundary_f_per_class`, both None where there is no boundary."""
        values = boundary_f(self.boundary_counts)
        return {"boundary_f": mean(values), "boundary_f_per_class": values}


def boundary_counts(maps: LabelMaps, num_classes: int, boundary_px: int) -> Tensor:
    """Return boundary pixels of a batch, int64 `[4, K]`: predicted and correct, predicted, true and found, true.

    A pixel lies on the boundary of its own class only, so two byte maps of labels hold the boundaries of all classes,
    and comparing them shifted over the disk matches all classes at once: the cost does not depend on K.
    """
    labels, target, valid, _ = maps
    predicted = torch.where(_edges(labels, torch.ones_like(valid)), labels, IGNORE_INDEX)
    true = torch.where(_edges(target, valid), target, IGNORE_INDEX)
    found = _near(true, predicted, boundary_px)
    correct = _near(predicted, true, boundary_px)
    unsure = _near(torch.zeros_like(target), valid.to(torch.uint8), boundary_px)
    groups = (
        (predicted, correct & valid),
        (predicted, valid & (correct | ~unsure)),
        (true, found),
        (true, true != IGNORE_INDEX),
    )
    counts = [
        torch.bincount(torch.where(chosen, classes, IGNORE_INDEX).flatten(), minlength=IGNORE_INDEX)
        for classes, chosen in groups
    ]
    return torch.stack([count[:num_classes] for count in counts])


def boundary_f(counts: Tensor) -> list[float | None]:
    """Return the F-measure of each class from the counts `[4, K]` of `boundary_counts`."""
    correct_predicted, boundary_predicted, found_true, boundary_true = counts.cpu().double()
    precision = torch.nan_to_num(correct_predicted / boundary_predicted)
    recall = torch.nan_to_num(found_true / boundary_true)
    present = (boundary_predicted + boundary_true) > 0
    harmonic = torch.nan_to_num(2 * precision * recall / (precision + recall))
    return [float(f) if p else None for f, p in zip(harmonic, present, strict=True)]


def _edges(labels: Tensor, valid: Tensor) -> Tensor:
    """Return which pixels `[B, H, W]` have a 4-neighbour of another class, both valid."""
    edge = torch.zeros_like(valid)
    for axis, size in ((1, labels.shape[1]), (2, labels.shape[2])):
        if size < 2:
            continue
        first, second = (labels.narrow(axis, start, size - 1) for start in (0, 1))
        both = valid.narrow(axis, 0, size - 1) & valid.narrow(axis, 1, size - 1)
        step = (first != second) & both
        edge.narrow(axis, 0, size - 1).logical_or_(step)
        edge.narrow(axis, 1, size - 1).logical_or_(step)
    return edge


def _near(points: Tensor, field: Tensor, radius: int) -> Tensor:
    """Return which pixels `[B, H, W]` of `points` have their value in `field` within a disk.

    Both are byte maps; the outside of the image matches nothing. Where `points` is 255 (no boundary) the answer means
    nothing.
    """
    height, width = points.shape[-2:]
    padded = functional.pad(field, (radius, radius, radius, radius), value=IGNORE_INDEX)
    near = torch.zeros_like(points, dtype=torch.bool)
    reach = range(-radius, radius + 1)
    for dy, dx in ((dy, dx) for dy in reach for dx in reach if dy * dy + dx * dx <= radius**2):
        near |= padded[:, radius + dy : radius + dy + height, radius + dx : radius + dx + width] == points
    return near
