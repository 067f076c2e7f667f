"""How good weak labels or pseudo-masks are against the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gss.core import distributed
from gss.core.errors import InputError
from gss.labels.space import IGNORE_INDEX

BINS = 20


class LabelQuality:
    """Streaming counts of labels, which may abstain, against full masks.

    Pixels whose truth is void never count where truth is given. Counts are integers, so any split of the images gives
    the same result.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        # Rows: truth, K where there is none. Columns: label, K where it abstains.
        self.confusion = np.zeros((num_classes + 1, num_classes + 1), np.int64)
        # Pixels, correct pixels, and confidences in units of 1 / 65535, of labelled pixels with truth.
        self.bins = np.zeros((3, BINS), np.int64)
        self.images, self.unlabelled_images = 0, 0

    def update(self, labels: np.ndarray, confidence: np.ndarray | None, truth: np.ndarray | None) -> None:
        """Count one image.

        Args:
            labels: uint8 `[H, W]`, 255 where they abstain.
            confidence: `[H, W]` in 0..1, if there is one.
            truth: uint8 `[H, W]`, 255 where void, if there is one.

        Raises:
            ValueError: the sizes differ.
        """
        K = self.num_classes
        if truth is not None and truth.shape != labels.shape:
            raise InputError(
                f"labels are {labels.shape}, their truth is {truth.shape}: give the data set they were made for"
            )
        known = labels != IGNORE_INDEX
        self.images += 1
        self.unlabelled_images += not known.any()
        rows = np.full(labels.shape, K) if truth is None else np.minimum(truth, K).astype(np.int64)
        pairs = rows * (K + 1) + np.minimum(labels, K)
        self.confusion += np.bincount(pairs.ravel(), minlength=(K + 1) ** 2).reshape(K + 1, K + 1)
        if truth is not None and confidence is not None:
            counted = known & (truth != IGNORE_INDEX)
            units = np.round(confidence[counted] * 65535).astype(np.int64)
            place = np.clip((units * BINS - 1) // 65535, 0, BINS - 1)
            right = (labels == truth)[counted]
            self.bins += np.stack(
                [
                    np.bincount(place, minlength=BINS),
                    np.bincount(place[right], minlength=BINS),
                    np.bincount(place, units, minlength=BINS).round().astype(np.int64),
                ]
            )

    def sum_across(self) -> None:
        """Replace the counts by their sum over all processes."""
        flat = np.concatenate([self.confusion.ravel(), self.bins.ravel(), [self.images, self.unlabelled_images]])
        flat = distributed.sum_across(torch.from_numpy(flat)).numpy()
        cells = self.confusion.size
        self.confusion, self.bins = flat[:cells].reshape(self.confusion.shape), flat[cells:-2].reshape(3, BINS)
        self.images, self.unlabelled_images = int(flat[-2]), int(flat[-1])

    def compute(self) -> dict[str, Any]:
        """Divide the counts.

        Returns:
            `images`, `unlabelled_images`, `coverage` (share of labelled pixels), `pixels` per class; and where truth
            was given, of pixels with truth: `precision` (labelled pixels that are right), `recall` (pixels that are
            labelled and right), `iou` and `miou` with abstention counted as a miss, all of them also per class (None
            for a class that is nowhere); `ece` and `reliability` where there was confidence, and `curve`: coverage and
            precision when only labels of at least each confidence are kept.
        """
        K, confusion = self.num_classes, self.confusion
        total = int(confusion.sum())
        result: dict[str, Any] = {
            "images": self.images,
            "unlabelled_images": self.unlabelled_images,
            "coverage": float(confusion[:, :K].sum() / total) if total else None,
            "pixels": confusion[:, :K].sum(0).tolist(),
        }
        valid = confusion[:K]
        if not valid.sum():
            return result
        hits, labelled, true = valid[:, :K].diagonal(), valid[:, :K].sum(0), valid.sum(1)
        iou = _ratios(hits, true + labelled - hits)
        seen = [value for value in iou if value is not None]
        result |= {
            "precision": float(hits.sum() / labelled.sum()) if labelled.sum() else None,
            "recall": float(hits.sum() / true.sum()),
            "miou": float(np.mean(seen)),
            "iou": iou,
            "precision_per_class": _ratios(hits, labelled),
            "recall_per_class": _ratios(hits, true),
            "mean_precision": _mean(_ratios(hits, labelled)),
            "mean_recall": _mean(_ratios(hits, true)),
        }
        pixels, right, units = self.bins.astype(np.float64)
        if pixels.sum():
            sure = units / 65535
            result["ece"] = float(np.abs(right - sure).sum() / pixels.sum())
            result["reliability"] = [
                {"confidence": c, "accuracy": a, "pixels": int(n)}
                for c, a, n in zip(_ratios(sure, pixels), _ratios(right, pixels), pixels, strict=True)
            ]
            kept, good = pixels[::-1].cumsum()[::-1], right[::-1].cumsum()[::-1]
            result["curve"] = [
                {"confidence": k / BINS, "coverage": float(kept[k] / true.sum()), "precision": float(good[k] / kept[k])}
                for k in range(BINS)
                if kept[k]
            ]
        return result


def _ratios(part: np.ndarray, whole: np.ndarray) -> list[float | None]:
    return [float(p / w) if w > 0 else None for p, w in zip(part, whole, strict=True)]


def _mean(values: list[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None
