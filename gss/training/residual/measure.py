"""Metrics of scores on pasted objects, and the check that masks have not changed."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gss.core import distributed
from gss.core.errors import InputError
from gss.core.sampling import evenly_spaced
from gss.data.outliers.benchmarks import OODDataset
from gss.data.outliers.mixing import MixedTruth
from gss.metrics.ood import OODMetrics
from gss.pipeline.pipeline import GSSPipeline


def measure(
    pipeline: GSSPipeline, dataset: MixedTruth, scores: Sequence[str], limit: int = 0
) -> dict[str, dict[str, float]]:
    """Return `ap`, `fpr95` and `auroc` by score, over all pixels of the images, on all processes.

    Args:
        pipeline: pipeline that gives the scores.
        dataset: images with outlier truth.
        scores: names of the scores.
        limit: number of images, evenly spread; 0 takes all.

    Raises:
        InputError: no outlier or no inlier pixel.
    """
    metrics = {name: OODMetrics() for name in scores}
    indices = evenly_spaced(len(dataset), limit or None)
    for position in distributed.shard(len(indices)):
        image, truth = dataset.read(indices[position])
        for name, maps in pipeline.predict_probabilities(image, modes=[], scores=scores).items():
            metrics[name].update(maps[0][0], truth)
    figures = {}
    for name in scores:
        result = metrics[name].compute()
        fpr = result.fpr["first_at_least"]
        if result.ap is None or result.auroc is None or fpr is None:
            raise InputError(f"validation images with pasted objects show {result.reason}: check data.val_split")
        figures[name] = {"ap": result.ap.value, "fpr95": fpr.value, "auroc": result.auroc.value}
    return figures


def same_masks(first: GSSPipeline, second: GSSPipeline, dataset: MixedTruth | OODDataset, limit: int = 8) -> bool:
    """Tell whether two pipelines give equal probabilities, bit for bit, in all decode modes.

    Args:
        first: pipeline without a residual head.
        second: its extension, which also computes the score of the head.
        dataset: images to compare on.
        limit: number of images, evenly spread; 0 takes all.
    """
    same = True
    indices = evenly_spaced(len(dataset), limit or None)
    for position in distributed.shard(len(indices)):
        image, _ = dataset.read(indices[position])
        plain, extended = (
            pipeline.predict_probabilities(image, modes=first.decode_modes, scores=scores)
            for pipeline, scores in ((first, ()), (second, ("residual_energy",)))
        )
        same = same and all(torch.equal(plain[mode][0], extended[mode][0]) for mode in first.decode_modes)
    return all(distributed.gather_objects(same))
