"""How far labels with a confidence are believed: which pixels count, how much, and what a doubtful label means."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gss.config.shared import WeakConfig
from gss.core.errors import InputError
from gss.core.sampling import evenly_spaced
from gss.data.datasets import SegmentationDataset
from gss.data.protocols import LabelledImages
from gss.labels.space import IGNORE_INDEX

_LEVELS = 1024
_SURVEY_IMAGES, _PEEK = 500, 16


class Believed(NamedTuple):
    """What the losses of a batch see.

    Attributes:
        labels: int64 `[B, H, W]`, doubtful pixels void.
        weights: of pixels `[B, H, W]`; None when all that are left weigh alike.
        doubt: `rest` and `extra` of `doubt`, for losses against a distribution; None for plain cross-entropy.
    """

    labels: Tensor
    weights: Tensor | None
    doubt: tuple[Tensor, Tensor] | None


class Trust(nn.Module):
    """Labels and confidences of a batch to what its losses see.

    Thresholds make doubtful pixels void, so every loss, token target and void filling treats them as unlabelled;
    linear weighting keeps them and gives weights.

    Args:
        cfg: settings.
        dataset: training images; read once for `share`, which needs a threshold for each class.
    """

    thresholds: Tensor

    def __init__(self, cfg: WeakConfig, dataset: LabelledImages) -> None:
        super().__init__()
        self.cfg = cfg
        K = dataset.label_space.num_classes
        thresholds = torch.zeros(K)
        if cfg.weighting == "threshold":
            thresholds = torch.full((K,), cfg.threshold)
        elif cfg.weighting == "share":
            thresholds = torch.from_numpy(class_thresholds(dataset, cfg.share))
        self.register_buffer("thresholds", thresholds, persistent=False)

    def forward(self, labels: Tensor, confidence: Tensor | None) -> Believed:
        """Decide which pixels count.

        Args:
            labels: int64 `[B, H, W]`, 255 where void.
            confidence: float `[B, H, W]` in 0..1; None for labels without one, which are believed.
        """
        if confidence is None:
            return Believed(labels, None, None)
        K = len(self.thresholds)
        unsure = None if self.cfg.loss == "cross_entropy" else doubt(confidence, K)
        if self.cfg.weighting in ("threshold", "share"):
            least = torch.cat([self.thresholds, self.thresholds.new_zeros(IGNORE_INDEX + 1 - K)])
            labels = torch.where(confidence >= least[labels], labels, IGNORE_INDEX)
        return Believed(labels, confidence if self.cfg.weighting == "linear" else None, unsure)


def class_thresholds(dataset: LabelledImages, share: float) -> np.ndarray:
    """Confidence of each class above which the most confident `share` of its pixels lie; float32 `[K]`.

    Pixels of equal confidence stay together, so a little more than the share may be kept. The survey looks at most at
    500 images, evenly spread; it depends on the data set alone, not on batches or processes.
    """
    K = dataset.label_space.num_classes
    counts = np.zeros((K, _LEVELS), np.int64)
    for index in evenly_spaced(len(dataset), _SURVEY_IMAGES):
        confidence = dataset.read_weak(index)[1] if isinstance(dataset, SegmentationDataset) else None
        if confidence is None:
            continue
        labels = dataset.read(index)[1]
        known = labels != IGNORE_INDEX
        level = np.minimum((confidence[known] * _LEVELS).astype(np.int64), _LEVELS - 1)
        counts += np.bincount(labels[known].astype(np.int64) * _LEVELS + level, minlength=K * _LEVELS).reshape(K, -1)
    best_first = counts[:, ::-1].cumsum(1)
    reached = (best_first >= np.ceil(share * best_first[:, -1:])).argmax(1)
    # A class that the survey has missed keeps all its pixels.
    return np.where(best_first[:, -1] > 0, (_LEVELS - 1 - reached) / _LEVELS, 0).astype(np.float32)


def doubt(confidence: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Class distribution that a label with a confidence stands for.

    The label has probability max(confidence, 1 / K), the other classes share the rest alike.

    Args:
        confidence: in 0..1, any shape.
        num_classes: K.

    Returns:
        `rest` and `extra` of the shape of `confidence`: the distribution is rest + extra * onehot(label).
    """
    if num_classes == 1:
        return torch.zeros_like(confidence), torch.ones_like(confidence)
    sure = confidence.clamp(1 / num_classes, 1)
    rest = (1 - sure) / (num_classes - 1)
    return rest, sure - rest


def check_seeds(dataset: LabelledImages, *, allow: bool, partial: bool = False, source: str = "") -> None:
    """Require that weak labels show every class somewhere.

    Images are looked at until every class was seen, so a usual data set costs a few reads.

    Args:
        dataset: training images; data sets with full masks are not looked at.
        allow: warn instead.
        partial: ordinary masks are partial too, so look at them.
        source: what the user knows the labels by; split and name of the data set when empty.

    Raises:
        ValueError: some class has no labelled pixel at all, or no image has any label.
    """
    if not isinstance(dataset, SegmentationDataset) or (dataset.weak is None and not partial):
        return
    names = dataset.label_space.names
    seen = np.zeros(len(names), bool)
    for index in _spread(len(dataset)):
        seen |= np.bincount(dataset.read(index)[1].ravel(), minlength=IGNORE_INDEX + 1)[: len(names)] > 0
        if seen.all():
            return
    absent = ", ".join(name for name, found in zip(names, seen, strict=True) if not found)
    where = source or f"split {dataset.split!r} of data set {dataset.spec.name!r}"
    if not seen.any():
        weak = [dataset.read_weak(index)[0] for index in range(min(_PEEK, len(dataset)))]
        fix = "all of them are unlabelled (255), so there is nothing to learn"
        if any(labels is not None and labels.present().any() for labels in weak):
            fix = "tags alone need masks first, of gss train weak-tags and gss weak produce, or gss weak run for it all"
        raise InputError(f"no pixel of {where} has a label: {fix}")
    message = f"no pixel of {where} is labelled {absent}"
    if not allow:
        raise InputError(f"{message}: label some, or set weak.allow_missing=true to train without these classes")
    warnings.warn(f"{message}: these classes will not be learnt", stacklevel=2)


def _spread(count: int) -> Iterator[int]:
    """Every position once, far ones first: rare classes turn up after few reads, neighbours look alike."""
    stride = max(1, round(count * (math.sqrt(5) - 1) / 2))
    while math.gcd(stride, count) != 1:
        stride += 1
    return (number * stride % count for number in range(count))
