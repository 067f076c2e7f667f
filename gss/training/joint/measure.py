"""Bits a pixel of a joint prior, and how much given cells help the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gss.config.joint import JointValidationConfig
from gss.core import distributed
from gss.core.sampling import evenly_spaced
from gss.data.protocols import LabelledImages
from gss.data.shifts.apply import RandomShift
from gss.data.transforms import to_float
from gss.evaluation.reconstruction import padded_pair
from gss.labels.space import IGNORE_INDEX
from gss.models.inputs import pad_to_multiple
from gss.models.joint import JointContext, JointPriorModel
from gss.models.joint.bound import cell_nats, cell_scores, order_bound
from gss.pipeline.pipeline import GSSPipeline
from gss.posterior.likelihood import CellLikelihood


@dataclass
class _Sums:
    """Sums over images: labelled pixels, nats by name, confusion matrices by name."""

    pixels: float
    nats: dict[str, float]
    confusion: dict[str, Tensor]


@torch.no_grad()
def measure(
    pipeline: GSSPipeline,
    joint: JointPriorModel,
    val: LabelledImages,
    train: LabelledImages,
    cfg: JointValidationConfig,
    *,
    seed: int,
) -> dict[str, float]:
    """Measure a joint prior on validation images, on all processes.

    Args:
        pipeline: pipeline that it extends.
        joint: joint prior.
        val: validation images.
        train: training images without augmentation, of which as many are read.
        cfg: number of images, draws and given cells.
        seed: seed of the draws.

    Returns:
        Bits a labelled pixel: `bits`, the bound given the image; `cells`, exact, each cell on its own; `pixels`, each
        pixel on its own; `mask_bits`, the bound without image; `unigram`, exact, of codes by their frequency;
        `train_cells`, `cells` on training images, which tells how much more the image leaves open in use. Where
        `cfg.given` of the cells is given at random, of the others: `given_miou`, beside `plain_miou` of the prior that
        is not told, and `mask_miou` without image.
    """
    classes = joint.config["num_labels"]
    names = ("plain", "given", "mask")
    sums = _Sums(0.0, {}, {name: torch.zeros(classes, classes, dtype=torch.float64) for name in names})
    indices = evenly_spaced(len(val), cfg.images or None)
    for position in distributed.shard(len(indices)):
        _measure_image(pipeline, joint, val, indices[position], cfg, seed, sums)
    # Sums of all processes.
    order = ("bits", "cells", "pixels", "mask_bits", "unigram")
    values = [sums.nats.get(name, 0.0) for name in order] + [sums.pixels]
    *nats, pixels = distributed.sum_across(torch.tensor(values, dtype=torch.float64)).tolist()
    figures = {name: value / math.log(2) / max(pixels, 1) for name, value in zip(order, nats, strict=True)}
    figures["train_cells"] = cell_bits(pipeline, train, cfg.images)
    for name in names:
        figures[f"{name}_miou"] = _miou(distributed.sum_across(sums.confusion[name]))
    return figures


@torch.no_grad()
def cell_bits(
    pipeline: GSSPipeline, dataset: LabelledImages, images: int, *, shifts: Sequence[str] | None = None, seed: int = 0
) -> float:
    """Return bits a labelled pixel of the prior alone, each cell on its own, on all processes.

    Args:
        pipeline: pipeline.
        dataset: images and labels.
        images: number of images, evenly spread; 0 takes all.
        shifts: weather and camera effects of which every image gets one, [] for any; None leaves images as they are.
        seed: seed of the effects.
    """
    assert pipeline.likelihood is not None
    nats = pixels = 0.0
    indices = evenly_spaced(len(dataset), images or None)
    for position in distributed.shard(len(indices)):
        logits, labels, _ = _read(pipeline, dataset, indices[position], shifts=shifts, seed=seed)
        nats += float(cell_nats(logits, cell_scores(pipeline.likelihood.table, labels)).sum())
        pixels += float((labels != IGNORE_INDEX).sum())
    nats, pixels = distributed.sum_across(torch.tensor([nats, pixels], dtype=torch.float64)).tolist()
    return nats / math.log(2) / max(pixels, 1)


def matching_shift(
    pipeline: GSSPipeline, train: LabelledImages, val: LabelledImages, images: int, *, shifts: Sequence[str], seed: int
) -> float:
    """Return the share of training images to shift so that they leave as much open as validation images.

    A trained prior is surer of the images it was trained on than of others. With bits a pixel t of training images, s
    of shifted ones and v of validation images, the share p solves (1 - p) t + p s = v; in [0, 1], in steps of 0.05.

    Args:
        pipeline: pipeline.
        train: training images without augmentation.
        val: validation images.
        images: number of images of each, evenly spread; 0 takes all.
        shifts: effects to draw from, [] for any.
        seed: seed of the effects.
    """
    plain, wanted = (cell_bits(pipeline, dataset, images) for dataset in (train, val))
    shifted = cell_bits(pipeline, train, images, shifts=shifts, seed=seed)
    share = (wanted - plain) / (shifted - plain) if shifted > plain else 0.0
    return round(20 * min(max(share, 0.0), 1.0)) / 20


def _measure_image(
    pipeline: GSSPipeline,
    joint: JointPriorModel,
    val: LabelledImages,
    index: int,
    cfg: JointValidationConfig,
    seed: int,
    sums: _Sums,
) -> None:
    likelihood = pipeline.likelihood
    assert isinstance(likelihood, CellLikelihood)
    base, labels, context = _read(pipeline, val, index, joint)
    alone = JointContext.empty(1, *context.size).to(base.device)
    tokens, scores = likelihood.tokens(labels), cell_scores(joint.table, labels)
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, index]).generate_state(1)[0]))

    # 1. Nats of the whole mask.
    sums.pixels += float((labels != IGNORE_INDEX).sum())
    for name, where in (("bits", context), ("mask_bits", alone)):
        _add(sums, name, order_bound(joint, where, tokens, scores, draws=cfg.orders, generator=generator).sum())
    _add(sums, "cells", cell_nats(base, scores).sum())
    unigram = joint.token_log_share[None, :, None, None].expand_as(base)
    _add(sums, "unigram", cell_nats(unigram, scores).sum())
    marginal = likelihood.marginal(base.softmax(1))
    wanted = labels.masked_fill(labels == IGNORE_INDEX, 0)[:, None]
    certain = marginal.gather(1, wanted)[:, 0].clamp(min=1e-12).log()
    _add(sums, "pixels", -certain[labels != IGNORE_INDEX].sum())

    # 2. Classes of the cells that are not given.
    known = (torch.rand(tokens.shape, generator=generator) < cfg.given).to(tokens.device) & (tokens >= 0)
    given = torch.where(known, tokens, joint.mask_token)
    valid = (labels != IGNORE_INDEX) & (
        F.interpolate(known[:, None].float(), scale_factor=joint.token_stride)[:, 0] == 0
    )
    told = {"given": joint(given, context).token_logits, "mask": joint(given, alone).token_logits}
    classes = joint.config["num_labels"]
    for name, probabilities in {
        "plain": marginal,
        **{name: likelihood.marginal(logits.softmax(1)) for name, logits in told.items()},
    }.items():
        pairs = labels[valid] * classes + probabilities.argmax(1)[valid]
        sums.confusion[name] += torch.bincount(pairs, minlength=classes**2).view(classes, classes).double().cpu()


def _read(
    pipeline: GSSPipeline,
    dataset: LabelledImages,
    index: int,
    joint: JointPriorModel | None = None,
    *,
    shifts: Sequence[str] | None = None,
    seed: int = 0,
) -> tuple[Tensor, Tensor, JointContext]:
    """Return token logits, labels padded to whole cells, and context (of no image without a joint prior)."""
    image, labels = dataset.read(index)
    stride, device = pipeline.prior.config.token_stride, pipeline.prior.device
    values = np.asarray(image)
    if shifts is not None:
        values = RandomShift(1.0, tuple(shifts))(values, np.random.default_rng([seed, index]))
    pixels = pad_to_multiple(to_float(values)[None].to(device), stride)
    output = pipeline.predict_tokens(pixels)
    logits = output.token_logits
    assert logits is not None
    context = JointContext.empty(1, *logits.shape[-2:]) if joint is None else joint.encode(output)
    return logits, padded_pair(np.asarray(labels), stride, device)[0], context


def _add(sums: _Sums, name: str, value: Tensor) -> None:
    sums.nats[name] = sums.nats.get(name, 0.0) + float(value)


def _miou(confusion: Tensor) -> float:
    """Return the mean IoU over the classes that occur in truth, of a matrix [truth, prediction]."""
    hits, truth = confusion.diag(), confusion.sum(1)
    iou = hits / (truth + confusion.sum(0) - hits).clamp(min=1)
    return float(iou[truth > 0].mean()) if bool((truth > 0).any()) else float("nan")
