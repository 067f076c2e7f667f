"""Labels with a confidence in the losses: which pixels count, with what weight, and as which class distribution."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gss.config.shared import WeakConfig
from gss.core.sampling import evenly_spaced
from gss.data.datasets import SegmentationDataset
from gss.data.protocols import LabelledImages
from gss.labels.space import IGNORE_INDEX

_LEVELS = 1024
_SURVEY_IMAGES = 500


class WeightedLabels(NamedTuple):
    """Labels of a batch as its losses see them.

    Attributes:
        labels: int64 `[B, H, W]`, uncertain pixels void.
        weights: `[B, H, W]`, weights of the pixels; None for equal weights.
        doubt: `rest` and `extra` of `doubt`, for losses against a distribution; None for plain cross-entropy.
    """

    labels: Tensor
    weights: Tensor | None
    doubt: tuple[Tensor, Tensor] | None


class ConfidenceWeighting(nn.Module):
    """Use of the confidences of a batch, as `weak.*` of a configuration says.

    Thresholds make uncertain pixels void, so that losses, token targets and void filling treat them as unlabelled.
    Linear weighting keeps them and gives weights.

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

    def forward(self, labels: Tensor, confidence: Tensor | None) -> WeightedLabels:
        """Return the labels that count, and their weights.

        Args:
            labels: int64 `[B, H, W]`, 255 where void.
            confidence: float `[B, H, W]` in 0..1; None for labels without one, which are certain.
        """
        if confidence is None:
            return WeightedLabels(labels, None, None)
        K = len(self.thresholds)
        unsure = None if self.cfg.loss == "cross_entropy" else doubt(confidence, K)
        if self.cfg.weighting in ("threshold", "share"):
            least = torch.cat([self.thresholds, self.thresholds.new_zeros(IGNORE_INDEX + 1 - K)])
            labels = torch.where(confidence >= least[labels], labels, IGNORE_INDEX)
        return WeightedLabels(labels, confidence if self.cfg.weighting == "linear" else None, unsure)


def class_thresholds(dataset: LabelledImages, share: float) -> np.ndarray:
    """Return the confidence of each class above which the most confident `share` of its pixels lie, float32 `[K]`.

    Pixels of equal confidence stay together, so a little more than the share may be kept. At most 500 images are read,
    evenly spaced; the result depends on the data set alone, not on batches or processes.
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
    # A class without a pixel in these images keeps all its pixels.
    return np.where(best_first[:, -1] > 0, (_LEVELS - 1 - reached) / _LEVELS, 0).astype(np.float32)


def doubt(confidence: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Return the class distribution that a label with a confidence stands for.

    The label has probability max(confidence, 1 / K); the other classes share the rest equally.

    Args:
        confidence: 0..1, any shape.
        num_classes: K.

    Returns:
        `rest` and `extra` of the shape of `confidence`; the distribution is rest + extra * onehot(label).
    """
    if num_classes == 1:
        return torch.zeros_like(confidence), torch.ones_like(confidence)
    sure = confidence.clamp(1 / num_classes, 1)
    rest = (1 - sure) / (num_classes - 1)
    return rest, sure - rest
