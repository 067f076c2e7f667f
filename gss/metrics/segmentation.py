"""Dataset-level segmentation metrics: IoU, accuracy, boundary F-measure and calibration error.

Everything is counted over the whole data set and divided once, in `SegmentationMetrics.compute`. The counts
are integers, so any split of the images over updates, objects or processes gives bit-identical results.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gss.core.distributed import sum_across
from gss.core.errors import InputError
from gss.labels.space import IGNORE_INDEX

# Confidences are summed as multiples of 2^-24 (a float32 in [0, 1] holds 24 bits): integer sums do not depend
# on order.
CONFIDENCE_UNIT = 1 << 24


class SegmentationMetrics:
    """Streaming counts of one prediction source against ground truth.

    Pixels whose truth is 255 (void) never count. With confusion matrix N[truth, prediction]:

    - IoU of class c = N[c, c] / (N[c, :] + N[:, c] - N[c, c]); `None` for a class that occurs neither in
      truth nor in prediction, and such classes stay out of every mean. A class that is predicted but never
      true has IoU 0.
    - accuracy = trace / total; mean accuracy = mean recall over the classes present in the truth;
      frequency-weighted IoU weights IoU by the class's share of true pixels.
    - Boundary F, per class and over the whole data set. Boundary pixels of class c are pixels labelled c with
      a 4-neighbour of another class inside the image. A predicted boundary pixel is correct when a true
      boundary pixel of the same class lies within `boundary_px` (Euclidean, the disk of Perazzi et al., CVPR
      2016); a true one is found when a predicted one lies within that distance. Precision and recall divide
      the sums over all images (Csurka et al., BMVC 2013, average per image instead, which lets tiny regions
      dominate), F is their harmonic mean. Void: a step from a class to void is no true boundary; predicted
      boundary pixels on void, and unmatched ones within `boundary_px` of void (the true border may lie under
      it), are neither right nor wrong, but true ones may be found by them.
    - ECE over `ece_bins` equal bins (a, b] of the top probability, pixels pooled over the data set: sum over
      bins of share * |accuracy - mean confidence|. `None` when only label maps were given.

    Args:
        num_classes: K, 1 to 255.
        boundary_px: Tolerance of the boundary F-measure in pixels, at least 0.
        ece_bins: Number of confidence bins, at least 1.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, num_classes: int, *, boundary_px: int = 3, ece_bins: int = 15) -> None:
        for name, value, low, high in (
            ("num_classes", num_classes, 1, IGNORE_INDEX),
            ("boundary_px", boundary_px, 0, 64),
            ("ece_bins", ece_bins, 1, 1000),
        ):
            if not low <= value <= high:
                raise InputError(f"{name} must be between {low} and {high}, got {value}")
        self.num_classes = num_classes
        self.boundary_px = boundary_px
        self.ece_bins = ece_bins
        reach = range(-boundary_px, boundary_px + 1)
        self._disk = [(dy, dx) for dy in reach for dx in reach if dy * dy + dx * dx <= boundary_px**2]
        self._counts = torch.zeros(num_classes**2 + 4 * num_classes + 3 * ece_bins, dtype=torch.int64)

    @property
    def confusion(self) -> Tensor:
        """Pixel counts, int64 `[K, K]`: rows truth, columns prediction."""
        return self._counts[: self.num_classes**2].view(self.num_classes, self.num_classes)

    @property
    def boundary_counts(self) -> Tensor:
        """Boundary pixels, int64 `[4, K]`: predicted and correct, predicted, true and found, true."""
        start = self.num_classes**2
        return self._counts[start : start + 4 * self.num_classes].view(4, self.num_classes)

    @property
    def confidence_counts(self) -> Tensor:
        """Calibration sums, int64 `[3, bins]`: pixels, correct pixels, confidence in units of 2^-24."""
        return self._counts[-3 * self.ece_bins :].view(3, self.ece_bins)

    def update(self, prediction: Tensor | np.ndarray, target: Tensor | np.ndarray) -> None:
        """Count one image or one batch.

        Args:
            prediction: Label map `[H, W]` or `[B, H, W]` (integers 0..K-1), or class probabilities `[K, H,
                W]` or `[B, K, H, W]` (floating point, 0..1), which also feed the calibration error.
            target: True labels `[H, W]` or `[B, H, W]`, integers 0..K-1 or 255 for void.

        Raises:
            ValueError: Shapes do not fit, labels lie outside the label space, or probabilities are not in
                0..1.
        """
        prediction, target = torch.as_tensor(prediction), torch.as_tensor(target)
        if target.ndim not in (2, 3) or target.is_floating_point():
            raise InputError(f"target must be an integer [H, W] or [B, H, W], got {_describe(target)}")
        if prediction.ndim == target.ndim + 1 and prediction.is_floating_point():
            if prediction.shape[-3] != self.num_classes:
                raise InputError(
                    f"prediction has {prediction.shape[-3]} class probabilities ({_describe(prediction)}), "
                    f"these metrics were made for num_classes={self.num_classes}"
                )
            confidence, labels = prediction.max(dim=-3)
        elif prediction.ndim == target.ndim and not prediction.is_floating_point():
            confidence, labels = None, prediction
        else:
            raise InputError(
                f"prediction must be integer labels like target ({_describe(target)}) or floating-point "
                f"probabilities with an axis of {self.num_classes} classes more, got {_describe(prediction)}"
            )
        if labels.shape != target.shape:
            raise InputError(
                f"prediction size {tuple(labels.shape)} differs from target size {tuple(target.shape)}; "
                "predict at the original size of the image"
            )
        target = _bytes("target", target, self.num_classes, void=True).to(labels.device)
        if confidence is None:
            labels = _bytes("prediction", labels, self.num_classes)
        shape = (-1, *target.shape[-2:])
        target, labels = target.reshape(shape), labels.to(torch.uint8).reshape(shape)
        valid = target != IGNORE_INDEX
        # Probabilities are checked before anything is counted: a refused update leaves the counts as they were.
        if confidence is not None:
            sums = self._calibration(confidence.reshape(shape), labels == target, valid)
            self.confidence_counts.add_(sums.cpu())
        # Void goes into a row of its own, which is cut off; that is cheaper than picking the valid pixels.
        rows = torch.where(valid, target, self.num_classes).int()
        pairs = torch.bincount((rows * self.num_classes + labels).flatten(), minlength=self.confusion.numel())
        self.confusion.add_(pairs[: self.confusion.numel()].view_as(self.confusion).cpu())
        self.boundary_counts.add_(self._boundary(labels, target, valid).cpu())

    def merge(self, other: "SegmentationMetrics") -> None:
        """Add the counts of another object, as if its images had been counted here.

        Raises:
            ValueError: The other object was made with other settings.
        """
        mine = (self.num_classes, self.boundary_px, self.ece_bins)
        theirs = (other.num_classes, other.boundary_px, other.ece_bins)
        if mine != theirs:
            raise InputError(f"cannot merge metrics of (num_classes, boundary_px, ece_bins) {theirs} into {mine}")
        self._counts += other._counts

    def state(self) -> Tensor:
        """Copy of all counts as one int64 vector; vectors of equal settings add up."""
        return self._counts.clone()

    def sum_across(self) -> None:
        """Replace the counts by their sum over all processes; call once on each process before `compute`."""
        self._counts = sum_across(self._counts).to("cpu", torch.int64)

    def compute(self, classes: Sequence[int] | None = None) -> dict[str, Any]:
        """Divide the counts.

        Args:
            classes: Classes that the unweighted means go over; all by default.

        Returns:
            `miou`, `accuracy`, `mean_accuracy`, `fwiou`, `boundary_f`, `ece`: floats, `None` where nothing
            was there to measure. `iou`, `boundary_f_per_class`: lists of K floats or `None`. `pixels`:
            counted pixels. `reliability`: one dict (`confidence`, `accuracy`, `pixels`) per bin, the first
            two `None` when empty.
        """
        confusion = self.confusion.double()
        hits, true, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
        total = float(confusion.sum())
        iou = _ratios(hits, true + predicted - hits)
        recall = _ratios(hits, true)
        shares = [float(t) / total * v for t, v in zip(true, iou, strict=True) if v is not None]
        correct_predicted, boundary_predicted, found_true, boundary_true = self.boundary_counts.double()
        precision = torch.nan_to_num(correct_predicted / boundary_predicted)
        found = torch.nan_to_num(found_true / boundary_true)
        present = (boundary_predicted + boundary_true) > 0
        harmonic = torch.nan_to_num(2 * precision * found / (precision + found))
        boundary_f = [float(f) if p else None for f, p in zip(harmonic, present, strict=True)]
        pixels, correct, confidence = self.confidence_counts.double()
        confidence = confidence / CONFIDENCE_UNIT
        ece = float((correct - confidence).abs().sum() / pixels.sum()) if pixels.sum() > 0 else None
        reliability = [
            {"confidence": c, "accuracy": a, "pixels": int(n)}
            for c, a, n in zip(_ratios(confidence, pixels), _ratios(correct, pixels), pixels, strict=True)
        ]
        return {
            "miou": _mean(iou, classes),
            "accuracy": float(hits.sum()) / total if total else None,
            "mean_accuracy": _mean(recall, classes),
            "fwiou": sum(shares) if shares else None,
            "boundary_f": _mean(boundary_f, classes),
            "ece": ece,
            "iou": iou,
            "boundary_f_per_class": boundary_f,
            "pixels": int(total),
            "reliability": reliability,
        }

    def _calibration(self, confidence: Tensor, correct: Tensor, valid: Tensor) -> Tensor:
        """Sums `[3, bins]` of one batch of `[B, H, W]` maps."""
        confidence = confidence.float()
        low, high = (float(v) for v in confidence.aminmax()) if confidence.numel() else (0.0, 0.0)
        # Negated, so that NaN is refused too.
        if not (low >= 0 and high <= 1.001):
            raise InputError(
                f"prediction holds top probabilities {low:.4g}..{high:.4g}, allowed are 0..1: apply softmax"
            )
        units = (confidence.clamp(max=1) * CONFIDENCE_UNIT).round().long()
        # Bins are (a, b], so that a certain pixel falls into the last one; void goes into an extra one.
        bins = ((units * self.ece_bins - 1) // CONFIDENCE_UNIT).clamp(min=0)
        bins = torch.where(valid, bins, self.ece_bins).flatten()
        by_bin = torch.bincount(2 * bins + correct.flatten(), minlength=2 * self.ece_bins + 2).view(-1, 2)
        confidences = units.new_zeros(self.ece_bins + 1).index_add_(0, bins, units.flatten())
        return torch.stack([by_bin.sum(1), by_bin[:, 1], confidences])[:, : self.ece_bins]

    def _boundary(self, labels: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Boundary counts `[4, K]` of one batch of `[B, H, W]` maps.

        A pixel lies on the boundary of its own class only, so two label-valued byte maps hold the boundaries of
        all classes, and comparing them shifted over the disk matches all classes at once: the cost does not
        depend on K.
        """
        predicted = torch.where(_edges(labels, torch.ones_like(valid)), labels, IGNORE_INDEX)
        true = torch.where(_edges(target, valid), target, IGNORE_INDEX)
        found = self._near(true, predicted)
        correct = self._near(predicted, true)
        unsure = self._near(torch.zeros_like(target), valid.to(torch.uint8))
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
        return torch.stack([count[: self.num_classes] for count in counts])

    def _near(self, points: Tensor, field: Tensor) -> Tensor:
        """Pixels `[B, H, W]` of `points` whose value occurs in `field` within the disk, outside the image never.

        Both are byte maps; where `points` is 255 (no boundary) the answer means nothing.
        """
        pad = self.boundary_px
        height, width = points.shape[-2:]
        padded = functional.pad(field, (pad, pad, pad, pad), value=IGNORE_INDEX)
        near = torch.zeros_like(points, dtype=torch.bool)
        for dy, dx in self._disk:
            near |= padded[:, pad + dy : pad + dy + height, pad + dx : pad + dx + width] == points
        return near


def _bytes(name: str, labels: Tensor, num_classes: int, *, void: bool = False) -> Tensor:
    """Labels as uint8, after a check of their range."""
    if labels.dtype not in (torch.uint8, torch.int32, torch.int64):
        labels = labels.long()  # 16-bit and boolean tensors lack comparisons
    unknown = (labels < 0) | (labels >= num_classes)
    if void:
        unknown &= labels != IGNORE_INDEX
    if unknown.any():
        also = f" and {IGNORE_INDEX} (void)" if void else ""
        first = int(labels[unknown][0])
        raise InputError(f"{name} holds label {first}, allowed are 0..{num_classes - 1}{also}")
    return labels.to(torch.uint8)


def _edges(labels: Tensor, valid: Tensor) -> Tensor:
    """Pixels `[B, H, W]` with a 4-neighbour of another class, both valid."""
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


def _ratios(part: Tensor, whole: Tensor) -> list[float | None]:
    return [float(p / w) if w > 0 else None for p, w in zip(part, whole, strict=True)]


def _mean(values: list[float | None], classes: Sequence[int] | None) -> float | None:
    chosen = values if classes is None else [values[index] for index in classes]
    present = [value for value in chosen if value is not None]
    return sum(present) / len(present) if present else None


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
