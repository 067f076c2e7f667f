"""Fitting scores: one pass of a pipeline over labelled training images."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gss.core import distributed
from gss.core.errors import InputError, unknown_name
from gss.core.progress import tracked
from gss.core.sampling import evenly_spaced
from gss.data.outliers.benchmarks import OODDataset
from gss.data.outliers.mixing import MixedTruth
from gss.data.protocols import LabelledImages, ReadableImages
from gss.labels.space import IGNORE_INDEX
from gss.ood.base import SCORES, FittedScore, ScoreInputs
from gss.ood.combined import Combined, combination_weights, stack_scores
from gss.ood.fitted import FittedScores
from gss.ood.registry import available_scores, build_score
from gss.ood.survey import Survey
from gss.pipeline.pipeline import GSSPipeline

# Training images that the correlations of combined scores are taken from.
_COMBINED_IMAGES = 50


def check_names(names: Sequence[str]) -> None:
    """Require scores that can be fitted.

    Raises:
        InputError: a name is unknown, or its score needs no fitting.
    """
    fittable = [name for name, score in SCORES.items() if "fit" in score.needs]
    for name in names:
        if name not in SCORES:
            raise unknown_name("score", name, fittable)
        if name not in fittable:
            raise InputError(f"score {name!r} needs no fitting; those to fit are {', '.join(fittable)}")


def labelled_inputs(
    pipeline: GSSPipeline,
    dataset: ReadableImages | OODDataset | MixedTruth,
    indices: Sequence[int],
    *,
    needs: Collection[str] = (),
    source: str | None = None,
    progress: str = "",
) -> Iterator[tuple[int, ScoreInputs, Tensor]]:
    """Run the pipeline on whole images, this process's share of `indices`.

    Args:
        pipeline: pipeline, which runs at the size that its processor chooses.
        dataset: images with labels of any classes.
        indices: indices of the images.
        needs: inputs that scores need, see `GSSPipeline.score_inputs`.
        source: source of the features, see there.
        progress: title of a progress bar; empty for none.

    Yields:
        Index, inputs of scores (B = 1), and labels int64 `[h, w]` at the centres of the cells, 255 where void.
    """
    shard = [indices[i] for i in distributed.shard(len(indices))]
    for index in tracked(shard, progress, shown=bool(progress)):
        image, labels = dataset.read(index)
        pixels = pipeline.preprocess([image]).images[0]
        with torch.no_grad():
            inputs = pipeline.score_inputs(pixels[None], needs=needs, source=source)
        yield index, inputs, labels_on_grid(labels, tuple(pixels.shape[-2:]), inputs)


def labels_on_grid(labels: np.ndarray, content: tuple[int, ...], inputs: ScoreInputs) -> Tensor:
    """Return labels on the grid of `inputs`, `[H, W]` -> int64 `[h, w]`, 255 where void.

    Args:
        labels: integers `[H, W]`.
        content: (h, w) of the upper left part of the input image that shows them; the rest is padding.
        inputs: inputs of scores.
    """
    resized = F.interpolate(torch.from_numpy(labels)[None, None].float(), size=content, mode="nearest-exact")
    bottom, right = (full - part for full, part in zip(inputs.size, content, strict=True))
    padded = F.pad(resized, (0, right, 0, bottom), value=IGNORE_INDEX)
    return F.interpolate(padded, size=inputs.logits.shape[-2:], mode="nearest-exact")[0, 0].long()


def survey_images(
    pipeline: GSSPipeline,
    dataset: LabelledImages,
    *,
    source: str = "head",
    images: int = 0,
    pixels_per_class: int = 10_000,
    pixels_per_image: int = 500,
    bank_size: int = 5_000,
    per_class: bool = True,
    seed: int = 0,
    progress: bool = False,
) -> Survey:
    """Run the pipeline once over training images and collect the statistics that scores are fitted to.

    Args:
        pipeline: pipeline whose features are described.
        dataset: training images.
        source: source of the features, "head" or "fusion".
        images: number of images, evenly spread; 0 takes all.
        pixels_per_class: see `Survey`, like the next three.
        pixels_per_image: see `Survey`.
        bank_size: see `Survey`.
        per_class: see `Survey`.
        seed: seed of the choice of pixels.
        progress: show a progress bar.

    Raises:
        InputError: features are not finite (names the image) or constant, or nothing is labelled.
    """
    survey = Survey(
        pipeline.prior.config.num_labels,
        pipeline.prior.config.hidden_dim,
        pixels_per_class=pixels_per_class,
        pixels_per_image=pixels_per_image,
        bank_size=bank_size,
        per_class=per_class,
    )
    survey.source = source
    if source == "head":
        head = pipeline.prior.aux_head
        survey.classifier = head.weight.detach().flatten(1).float(), head.bias.detach().float()
    indices, bar = evenly_spaced(len(dataset), images or None), "features" if progress else ""
    for index, inputs, labels in labelled_inputs(pipeline, dataset, indices, source=source, progress=bar):
        name = str(dataset.ids[index])
        survey.add(inputs.features[0], inputs.logits[0], labels, seeds=(seed, index), name=name)
    return survey.finish()


def fit_scores(
    pipeline: GSSPipeline,
    survey: Survey | None,
    dataset: LabelledImages,
    *,
    names: Sequence[str],
    combine: Sequence[str] = (),
) -> FittedScores:
    """Fit scores to a survey; combined scores read some of the images again.

    Args:
        pipeline: pipeline whose density and residual heads may give parts of combined scores.
        survey: result of `survey_images`; None is enough for combinations of scores that need no fit.
        dataset: images of the survey.
        names: scores to fit.
        combine: parts of "combined"; those that the pipeline cannot give are left out.

    Returns:
        The component to put into the pipeline.

    Raises:
        InputError: a name is unknown or needs no fitting, or nothing is left to combine.
    """
    check_names(names)
    tensors: dict[str, dict[str, Tensor]] = {}
    for name in names:
        score = SCORES[name]
        if issubclass(score, FittedScore):
            if survey is None:
                raise InputError(f"score {name!r} needs a survey of training images: see survey_images")
            tensors[name] = score.fit(survey)
    source = pipeline.feature_source if survey is None else survey.source
    fitted = FittedScores.from_tensors(tensors, source=source).to(pipeline.prior.device)
    chosen: list[str] = []
    for name in names:
        score = SCORES[name]
        if issubclass(score, Combined):
            parts, tensors[name] = _fit_combination(pipeline, fitted, dataset, score.fixed_parts or combine)
            if lost := [part for part in score.fixed_parts if part not in parts]:
                raise InputError(f"score {name!r} needs {lost[0]!r}, which this pipeline cannot give")
            chosen = chosen if score.fixed_parts else parts
    return FittedScores.from_tensors(tensors, chosen, source)


def _fit_combination(
    pipeline: GSSPipeline, fitted: FittedScores, dataset: LabelledImages, combine: Sequence[str]
) -> tuple[list[str], dict[str, Tensor]]:
    """Return the scores to combine that the pipeline can give, and the tensors of their combination."""
    known = [name for name, score in SCORES.items() if not issubclass(score, Combined)]
    for name in combine:
        if name not in known:
            raise unknown_name("score to combine", name, known, plural="scores")
    have: dict[str, Any] = {"density": pipeline.density, "fitted": fitted, "tokens": pipeline.vqvae is not None}
    have["residual"] = pipeline.residual is not None
    parts = [name for name in combine if name in available_scores(**have)]
    if not parts:
        raise InputError(f"none of the scores to combine ({', '.join(combine)}) is available: name others")
    scores = [build_score(name, **have) for name in parts]
    needs = frozenset().union(*(score.needs for score in scores))
    count = torch.zeros((), dtype=torch.float64)
    first = torch.zeros(len(parts), dtype=torch.float64)
    second = torch.zeros(len(parts), len(parts), dtype=torch.float64)
    indices = evenly_spaced(len(dataset), _COMBINED_IMAGES)
    for _, inputs, labels in labelled_inputs(pipeline, dataset, indices, needs=needs, source=fitted.source):
        rows = stack_scores(scores, inputs)[0].cpu()[labels != IGNORE_INDEX].double()
        count += len(rows)
        first += rows.sum(0)
        second += rows.t() @ rows
    count, first, second = (distributed.sum_across(part) for part in (count, first, second))
    if count == 0:
        raise InputError("no pixel of the images looked at for the combined score has a label")
    return parts, combination_weights(first / count, second / count)
