"""Component metrics of SegmentMeIfYouCan (Chan et al., NeurIPS 2021): sIoU, PPV and F1 of whole objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from gss.core.errors import InputError, unknown_name
from gss.core.records import Record
from gss.metrics.base import CountMetric
from gss.metrics.targets import OUTLIER, VOID, as_numpy, check_target

LEVELS = np.linspace(0.25, 0.75, 11)
"""Quality levels over which F1 is averaged. As in the benchmark, the eighth is 0.6000000000000001, so that a
component with an sIoU of exactly 3/5 is missed there."""

_EIGHT = np.ones((3, 3), bool)
_UNIT = 1 << 32  # fractions are summed as multiples of 2^-32: integer sums do not depend on order


@dataclass(frozen=True)
class TrackRules:
    """Smallest components of a track, in pixels at the full resolution of its images.

    Args:
        min_predicted: size below which predicted components are dropped.
        min_true: size below which true components become void.
    """

    min_predicted: int
    min_true: int


TRACKS = {"anomaly": TrackRules(500, 100), "obstacle": TrackRules(50, 10)}
"""Size rules of the anomaly track and of the obstacle track (which Lost and Found shares)."""


@dataclass(frozen=True)
class ComponentResult(Record):
    """Component metrics of a data set; shares are fractions, None where nothing was there to measure.

    Args:
        siou: mean adjusted IoU over all true components.
        ppv: mean precision over all predicted components.
        f1_mean: mean of `f1` over the quality levels.
        levels: quality levels; `f1`, `hits`, `misses` and `false_alarms` are by level.
        f1: F1 of whole components.
        hits: number of true components with an sIoU of at least the level.
        misses: number of the other true components.
        false_alarms: number of predicted components with a PPV below the level.
        true_components: number of true components.
        predicted_components: number of predicted components.
        images: number of images.
        rules: size rules.
        reason: why values are None.
    """

    siou: float | None
    ppv: float | None
    f1_mean: float | None
    levels: tuple[float, ...]
    f1: tuple[float | None, ...]
    hits: tuple[int, ...]
    misses: tuple[int, ...]
    false_alarms: tuple[int, ...]
    true_components: int
    predicted_components: int
    images: int
    rules: TrackRules
    reason: str | None


def match_components(predicted: np.ndarray, truth: np.ndarray, rules: TrackRules) -> tuple[np.ndarray, np.ndarray]:
    """Match the components of one image, in the benchmark's order of operations.

    1. The prediction is cleared where the truth is void. 2. Both maps are cut into 8-connected components.
    3. Small predicted components are dropped. 4. Small true components become void, and what is predicted
    there vanishes; predicted components cut by this are neither labelled nor measured again.

    With P the union of the predicted components that touch true component g, and A the part of P on other true
    components, sIoU(g) = |g ∩ P| / (|g ∪ P| - |A|). PPV(p) is the share of p on any true component.

    Args:
        predicted: bool `[H, W]`.
        truth: integer `[H, W]`: 0 in, 1 out, 255 void.
        rules: size rules.

    Returns:
        float64 `[true components]` and `[predicted components]`: their sIoU and PPV.
    """
    true, num_true = ndimage.label(truth == OUTLIER, _EIGHT)
    parts, num_parts = ndimage.label(predicted & (truth != VOID), _EIGHT)
    size_parts = np.bincount(parts.ravel(), minlength=num_parts + 1)
    size_true = np.bincount(true.ravel(), minlength=num_true + 1)
    kept_parts, kept_true = size_parts >= rules.min_predicted, size_true >= rules.min_true
    kept_parts[0] = kept_true[0] = False  # the background
    # Every pixel where a true component is covered: a sparse table of (true, predicted) with its counts.
    covered = (true > 0) & kept_parts[parts]
    pairs = true[covered].astype(np.int64) * (num_parts + 1) + parts[covered]
    pairs, shared = np.unique(pairs, return_counts=True)
    g, p = np.divmod(pairs, num_parts + 1)
    vanished = ~kept_true[g]
    size_parts = size_parts - _sums(p[vanished], shared[vanished], num_parts)
    g, p, shared = g[~vanished], p[~vanished], shared[~vanished]
    on_true, inside = _sums(p, shared, num_parts), _sums(g, shared, num_true)
    # |g ∪ P| - |A| = |g| + (|P| off any true component)
    outside = _sums(g, (size_parts - on_true)[p], num_true)
    kept_parts &= size_parts > 0
    return inside[kept_true] / (size_true + outside)[kept_true], on_true[kept_parts] / size_parts[kept_parts]


def _sums(slots: np.ndarray, numbers: np.ndarray, last: int) -> np.ndarray:
    sums = np.zeros(last + 1, np.int64)
    np.add.at(sums, slots, numbers)
    return sums


class ComponentMetrics(CountMetric):
    """Component metrics of thresholded score maps.

    Counts are summed over all images before F1 is formed, so an image without a true component still contributes its
    false alarms.

    Args:
        rules: "anomaly", "obstacle", or other sizes (images at half the resolution have a quarter of the pixels).
        options: arguments of `torchmetrics.Metric`.

    Attributes:
        components: int64 `[3]`: images, true components, predicted components.
        quality: int64 `[2]`: sums of sIoU and of PPV in units of 2^-32.
        hits: int64 `[levels]`, see `ComponentResult`.
        false_alarms: int64 `[levels]`, see `ComponentResult`.

    Raises:
        ValueError: unknown track, or a negative size.
    """

    higher_is_better = True
    components: Tensor
    quality: Tensor
    hits: Tensor
    false_alarms: Tensor

    def __init__(self, rules: str | TrackRules, **options: Any) -> None:
        if isinstance(rules, str):
            if rules not in TRACKS:
                raise unknown_name("track", rules, TRACKS, where="rules")
            rules = TRACKS[rules]
        if min(rules.min_predicted, rules.min_true) < 0:
            raise InputError(f"{rules} has a negative size; sizes are pixel counts")
        super().__init__({"rules": rules}, options)
        self.rules = rules
        self.add_counts("components", 3)
        self.add_counts("quality", 2)
        self.add_counts("hits", len(LEVELS))
        self.add_counts("false_alarms", len(LEVELS))

    def update(self, predicted: Tensor | np.ndarray, target: Tensor | np.ndarray) -> None:
        """Count one image or one batch.

        Args:
            predicted: bool `[H, W]` or `[B, H, W]`, the thresholded score.
            target: integers of the same shape: 0 in, 1 out, 255 void.

        Raises:
            ValueError: shapes differ, or other types or values.
        """
        maps = as_numpy(predicted)
        if maps.dtype != bool:
            raise InputError(f"predicted must be bool, got {maps.dtype}; threshold the scores: scores >= threshold")
        truths = check_target(target, maps, "predicted")
        size = (-1, *truths.shape[-2:])
        for image, truth in zip(maps.reshape(size), truths.reshape(size), strict=True):
            siou, ppv = match_components(image, truth, self.rules)
            self.components += torch.tensor([1, len(siou), len(ppv)], device=self.device)
            sums = [int(np.rint(part * _UNIT).sum()) for part in (siou, ppv)]
            self.quality += torch.tensor(sums, device=self.device)
            self.hits += torch.tensor([int((siou >= level).sum()) for level in LEVELS], device=self.device)
            self.false_alarms += torch.tensor([int((ppv < level).sum()) for level in LEVELS], device=self.device)

    def compute(self) -> ComponentResult:
        """Divide the counts."""
        images, true, predicted = self.components.tolist()
        siou, ppv = self.quality.tolist()
        hits, false_alarms = self.hits.tolist(), self.false_alarms.tolist()
        f1 = [2 * tp / (tp + true + fp) if true else None for tp, fp in zip(hits, false_alarms, strict=True)]
        missing = f"no true component of at least {self.rules.min_true} pixels in {images} images"
        return ComponentResult(
            siou=siou / _UNIT / true if true else None,
            ppv=ppv / _UNIT / predicted if predicted else None,
            f1_mean=sum(f for f in f1 if f is not None) / len(f1) if true else None,
            levels=tuple(LEVELS.tolist()),
            f1=tuple(f1),
            hits=tuple(hits),
            misses=tuple(true - tp for tp in hits),
            false_alarms=tuple(false_alarms),
            true_components=true,
            predicted_components=predicted,
            images=images,
            rules=self.rules,
            reason=(None if predicted else "no predicted component") if true else missing,
        )
