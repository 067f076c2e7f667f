"""Component metrics of SegmentMeIfYouCan (Chan et al., NeurIPS 2021): sIoU, PPV and F1 of whole objects."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from gss.core.distributed import sum_across
from gss.core.errors import InputError, did_you_mean
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
        min_predicted: smaller predicted components are dropped.
        min_true: smaller true components become void.
    """

    min_predicted: int
    min_true: int


TRACKS = {"anomaly": TrackRules(500, 100), "obstacle": TrackRules(50, 10)}
"""Size rules of the anomaly track and of the obstacle track (which Lost and Found shares)."""


@dataclass(frozen=True)
class ComponentResult:
    """What `ComponentMetrics.compute` found; figures are `None` where nothing was there to measure.

    Args:
        siou: mean adjusted IoU over all true components; ppv: mean precision over all predicted ones.
        f1_mean: mean of `f1` over the quality levels.
        levels, f1, hits, misses, false_alarms: by quality level.
        true_components, predicted_components, images: how many were counted.
        rules: size rules.
        reason: why figures are `None`.
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

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


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
        sIoU of every true component and PPV of every predicted one, float64.
    """
    true, num_true = ndimage.label(truth == OUTLIER, _EIGHT)
    found, num_found = ndimage.label(predicted & (truth != VOID), _EIGHT)
    size_found = np.bincount(found.ravel(), minlength=num_found + 1)
    size_true = np.bincount(true.ravel(), minlength=num_true + 1)
    kept_found, kept_true = size_found >= rules.min_predicted, size_true >= rules.min_true
    kept_found[0] = kept_true[0] = False  # the background
    # Every pixel where a true component is covered: a sparse table of (true, predicted) with its counts.
    covered = (true > 0) & kept_found[found]
    pairs = true[covered].astype(np.int64) * (num_found + 1) + found[covered]
    pairs, shared = np.unique(pairs, return_counts=True)
    g, p = np.divmod(pairs, num_found + 1)
    vanished = ~kept_true[g]
    size_found = size_found - _sums(p[vanished], shared[vanished], num_found)
    g, p, shared = g[~vanished], p[~vanished], shared[~vanished]
    on_true, inside = _sums(p, shared, num_found), _sums(g, shared, num_true)
    # |g ∪ P| - |A| = |g| + (|P| off any true component)
    outside = _sums(g, (size_found - on_true)[p], num_true)
    kept_found &= size_found > 0
    return inside[kept_true] / (size_true + outside)[kept_true], on_true[kept_found] / size_found[kept_found]


def _sums(slots: np.ndarray, numbers: np.ndarray, last: int) -> np.ndarray:
    sums = np.zeros(last + 1, np.int64)
    np.add.at(sums, slots, numbers)
    return sums


class ComponentMetrics:
    """Streaming component metrics; the state is a vector of integers that adds up over processes.

    Counts are summed over all images before F1 is formed, so an image without a true component still
    contributes its false alarms.

    Args:
        rules: `anomaly`, `obstacle`, or sizes of your own (images at half the resolution have a quarter of the
            pixels).

    Raises:
        ValueError: no such track, or a negative size.
    """

    def __init__(self, rules: str | TrackRules) -> None:
        if isinstance(rules, str):
            if rules not in TRACKS:
                raise InputError(f"rules is {rules!r} {did_you_mean(rules, TRACKS)}; choose from {', '.join(TRACKS)}")
            rules = TRACKS[rules]
        if min(rules.min_predicted, rules.min_true) < 0:
            raise InputError(f"{rules} has a negative size; sizes are pixel counts")
        self.rules = rules
        self._counts = torch.zeros(5 + 2 * len(LEVELS), dtype=torch.int64)

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
            sums = [1, len(siou), len(ppv), *(int(np.rint(part * _UNIT).sum()) for part in (siou, ppv))]
            hits = [int((siou >= level).sum()) for level in LEVELS]
            false_alarms = [int((ppv < level).sum()) for level in LEVELS]
            self._counts += torch.tensor(sums + hits + false_alarms)

    def merge(self, other: ComponentMetrics) -> None:
        """Add the counts of another object.

        Raises:
            ValueError: it was made with other size rules.
        """
        if self.rules != other.rules:
            raise InputError(f"cannot merge metrics of {other.rules} into {self.rules}")
        self._counts += other._counts

    def state(self) -> Tensor:
        """Copy of all counts as one int64 vector; vectors of equal settings add up."""
        return self._counts.clone()

    def sum_across(self) -> None:
        """Replace the counts by their sum over all processes; call once on each process before `compute`."""
        self._counts = sum_across(self._counts).to("cpu", torch.int64)

    def compute(self) -> ComponentResult:
        """Divide the counts."""
        images, true, predicted, siou, ppv, *rest = self._counts.tolist()
        hits, false_alarms = rest[: len(LEVELS)], rest[len(LEVELS) :]
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
