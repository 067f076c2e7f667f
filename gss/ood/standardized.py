"""The standardized max-logit, and the smoothing of maps of scores."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gss.ood.base import FittedScore, ScoreInputs
from gss.ood.survey import Survey


class StandardizedMaxLogit(FittedScore):
    """Max-logit in standard deviations of the predicted class, cleaned at boundaries (Jung et al., 2021).

    The max-logit is small at class boundaries although nothing there is unknown. Pixels near a boundary take, from the
    outside in, the mean of their neighbours that are not near it; a dilated Gaussian then smooths the map. This is
    done at the resolution of the images.
    """

    name = "sml"
    mean: Tensor
    deviation: Tensor

    @classmethod
    def fit(cls, survey: Survey) -> dict[str, Tensor]:
        """Return mean and standard deviation of the max-logit by predicted class, or of all pixels for a rare class."""
        count, first, second = survey.logit_moments.unbind(1)
        total = survey.logit_moments.sum(0)
        never = count < 2
        first, second = torch.where(never, total[1], first), torch.where(never, total[2], second)
        count = torch.where(never, total[0], count).clamp(min=1)
        mean = first / count
        deviation = (second / count - mean.square()).clamp(min=1e-8).sqrt()
        return {"mean": mean.float(), "deviation": deviation.float()}

    def score(self, inputs: ScoreInputs) -> Tensor:
        """Return standard deviations, [B, H, W]."""
        logits = F.interpolate(inputs.logits, size=inputs.size, mode="bilinear")
        largest, predicted = logits.max(1)
        score = -(largest - self.mean[predicted]) / self.deviation[predicted]
        return smooth(suppress_boundaries(score, predicted))


def suppress_boundaries(score: Tensor, predicted: Tensor, *, width: int = 4) -> Tensor:
    """Replace scores within `width` - 1 pixels of a class boundary by those of the surroundings.

    Args:
        score: float [B, H, W].
        predicted: int64 [B, H, W], class of each pixel.
        width: number of rounds. The replaced region shrinks by one pixel in each round, so that values spread from
            the outside to the boundary.
    """
    boundary = class_boundaries(predicted)
    score = score[:, None]
    for radius in reversed(range(width)):
        outside = 1 - _grow(boundary, radius)
        padded = F.pad(torch.cat([score * outside, outside], 1), (1, 1, 1, 1), mode="replicate")
        total, count = (9 * F.avg_pool2d(padded, 3, stride=1)).split(1, dim=1)
        # Deep inside a region that is narrower than its boundary a pixel has no such neighbour: its score stays.
        score = torch.where((outside == 0) & (count > 0.5), total / count.clamp(min=1), score)
    return score[:, 0]


def class_boundaries(predicted: Tensor) -> Tensor:
    """Return 1 where a pixel has neighbours of several classes, else 0, float [B, 1, H, W]."""
    classes = predicted[:, None].float()
    return (_grow(classes, 1) != -F.max_pool2d(-classes, 3, 1, 1)).float()


def _grow(values: Tensor, radius: int) -> Tensor:
    """Return the maximum over all pixels within `radius` in city-block distance."""
    for _ in range(radius):
        across = F.max_pool2d(values, (1, 3), 1, (0, 1))
        values = torch.maximum(across, F.max_pool2d(values, (3, 1), 1, (1, 0)))
    return values


def smooth(score: Tensor, *, size: int = 7, sigma: float = 1.0, dilation: int = 6) -> Tensor:
    """Return a dilated Gaussian blur of maps [B, H, W], with replicated borders."""
    offsets = torch.arange(size, dtype=score.dtype, device=score.device) - size // 2
    kernel = (-0.5 * (offsets / sigma).square()).exp()
    kernel = kernel / kernel.sum()
    pad = size // 2 * dilation
    x = F.pad(score[:, None], (pad, pad, pad, pad), mode="replicate")
    x = F.conv2d(x, kernel.view(1, 1, -1, 1), dilation=dilation)
    return F.conv2d(x, kernel.view(1, 1, 1, -1), dilation=dilation)[:, 0]
