"""Learn the thresholds of alarms: the scores that given shares of the labelled pixels of training images reach."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gss.core.errors import InputError
from gss.core.sampling import evenly_spaced
from gss.data.protocols import LabelledImages
from gss.metrics.alarms import AlarmThreshold
from gss.ood.alarms import ALARM_RATES
from gss.ood.fitted import FittedScores
from gss.ood.registry import build_score
from gss.pipeline.pipeline import GSSPipeline
from gss.training.density.fit_scores import labelled_inputs

# Training images read, evenly spread over the data set.
_IMAGES = 64
# JSON has no infinity; no finite score is above this.
_LARGEST = float(torch.finfo(torch.float32).max)


def with_alarms(
    pipeline: GSSPipeline, dataset: LabelledImages, *, images: int = _IMAGES, progress: bool = False
) -> FittedScores:
    """Return the fitted scores of a pipeline with thresholds for all its scores.

    Every process reads its share of the images.

    Args:
        pipeline: pipeline, which runs at the size that its processor chooses.
        dataset: training images.
        images: largest number of images read.
        progress: show a progress bar.

    Raises:
        InputError: no pixel is labelled, or a score is not a number.
    """
    names = pipeline.score_names
    counts = {name: AlarmThreshold() for name in names}
    scores = {name: build_score(name, **pipeline.score_parts) for name in names}
    needs = frozenset().union(*(score.needs for score in scores.values()))
    indices, bar = evenly_spaced(len(dataset), images), "alarms" if progress else ""
    for index, inputs, labels in labelled_inputs(pipeline, dataset, indices, needs=needs, progress=bar):
        for name, score in scores.items():
            values = _on_grid(score(inputs), labels.shape)
            try:
                counts[name].update(values, labels)
            except InputError as error:
                raise InputError(f"score {name!r} of image {dataset.ids[index]}: {error}") from error
    alarms: dict[str, list[float]] = {}
    for name, count in counts.items():
        count.sum_across()
        alarms[name] = [min(count.threshold(rate), _LARGEST) for rate in ALARM_RATES]
    fitted = pipeline.ood or FittedScores.from_tensors({}, source=pipeline.feature_source)
    tensors = {name: fitted.tensors(name) for name in fitted.names}
    return FittedScores.from_tensors(tensors, fitted.parts, fitted.source, alarms).to(pipeline.prior.device)


def _on_grid(score: Tensor, grid: Sequence[int]) -> Tensor:
    """Return a score of one image, `[1, h, w]` or `[1, H, W]`, at the centres of the cells, `[h, w]`."""
    return F.interpolate(score[:, None], size=tuple(grid), mode="nearest-exact")[0, 0].cpu()
