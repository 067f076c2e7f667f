"""Pseudo-masks from a trained pipeline, sharpened by the labels of each image (`gss weak produce`)."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gss.config.agmm import ProduceConfig
from gss.data.datasets import SegmentationDataset
from gss.data.open import open_split
from gss.data.specs.spec import DataSpec
from gss.evaluation.checks import check_classes
from gss.labels.counts import count_labels
from gss.labels.space import IGNORE_INDEX
from gss.models.gaussians import full_precision
from gss.ood import ScoreInputs
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.windows import resize_map
from gss.weak.agmm.evidence import Evidence, gather_evidence
from gss.weak.agmm.mixture import unit_features
from gss.weak.agmm.online_em import NEUTRAL_ENERGY, ClassBank, expectation_maximisation
from gss.weak.agmm.spread import finer_grids, spread
from gss.weak.manifest import Manifest
from gss.weak.pseudo_masks import PseudoMask, PseudoMaskWriter, require_labels


@torch.no_grad()
def probabilities_given_labels(
    pipeline: GSSPipeline,
    image: Any,
    labels: np.ndarray,
    cfg: ProduceConfig,
    *,
    confidence: np.ndarray | None = None,
    tags: np.ndarray | None = None,
) -> Tensor:
    """Return class probabilities of an image given its weak labels, proportional to P_k G_k^mixture for tagged classes.

    P is the pipeline's prediction and G the score of a Gaussian for each class around its labelled pixels, after one
    round of expectation maximisation in the image. A class without a labelled pixel takes the score that a Gaussian
    has at one standard deviation. With `cfg.spread.steps`, labels and probabilities then spread over the image.

    Args:
        pipeline: with tokens or without; it sees the image as a whole.
        image: PIL, path, array or tensor of one image.
        labels: uint8 `[H, W]`, 255 where unlabelled.
        cfg: settings.
        confidence: confidence of the labels, float32 `[H, W]` in 0..1; 1 for all when None.
        tags: the only classes the image may hold besides those labelled, bool `[K]`; any when None.

    Returns:
        float32 `[K, H, W]` on the pipeline's device.
    """
    # 1. Network: features and class logits on their grid, probabilities at the padded size of the resized image.
    resized = pipeline.preprocess(image).images[0]  # [3, h_r, w_r]
    tokens = pipeline.vqvae is not None
    inputs = pipeline.score_inputs(resized[None], needs=("tokens", "decoded") if tokens else ())
    probs = inputs.decoded  # [1, K, h_p, w_p]
    if probs is None:
        probs = F.interpolate(inputs.logits, size=inputs.size, mode="bilinear").softmax(1)
    # 2. Mixture. The network saw the image with padding below and to the right; labels get the same, in their scale.
    scales = inputs.size[0] / resized.shape[1], inputs.size[1] / resized.shape[2]
    evidence = _padded_evidence(labels, scales, inputs, confidence=confidence, tags=tags)
    with full_precision(inputs.features.device):
        mixture = expectation_maximisation(
            unit_features(inputs.features),
            inputs.logits.log_softmax(1),
            evidence,
            ClassBank(inputs.logits.shape[1], inputs.features.shape[1], 0.0).to(inputs.features.device),
            mixture=cfg.mixture,
            unlabelled=cfg.unlabelled,
            shrinkage=cfg.shrinkage,
        )
    energies = mixture.energies.where(mixture.known[..., None, None], NEUTRAL_ENERGY)
    energies = F.interpolate(energies, size=inputs.size, mode="bilinear")
    # 3. Product of both over the allowed classes, without the padding.
    logits = probs.clamp(min=1e-12).log() - cfg.mixture * energies
    joint = logits.masked_fill(~evidence.allowed[..., None, None], -torch.inf).softmax(1)
    joint = joint[:, :, : resized.shape[1], : resized.shape[2]]  # [1, K, h_r, w_r]
    # 4. Labels and probabilities spread along colours, on grids that start with the features' cells on the image.
    if cfg.spread.steps:
        cells = [
            math.ceil(a * b / c)
            for a, b, c in zip(inputs.features.shape[2:], joint.shape[2:], inputs.size, strict=True)
        ]
        levels = [
            gather_evidence(
                torch.from_numpy(labels.astype(np.int64))[None].to(joint.device),
                joint.shape[1],
                grid,
                confidence=None if confidence is None else torch.from_numpy(confidence)[None].to(joint.device),
            )
            for grid in finer_grids((cells[0], cells[1]), len(cfg.spread.steps), (joint.shape[2], joint.shape[3]))
        ]
        joint = spread(joint, levels, resized[None].to(joint.device), cfg.spread)
    return resize_map(joint[0], (labels.shape[0], labels.shape[1]))


def _padded_evidence(
    labels: np.ndarray,
    scales: tuple[float, float],
    inputs: ScoreInputs,
    *,
    confidence: np.ndarray | None,
    tags: np.ndarray | None,
) -> Evidence:
    """Return labels on the grid of the features, which covers `scales` times the image."""
    height, width = labels.shape
    margin = (0, round(width * scales[1]) - width, 0, round(height * scales[0]) - height)

    def padded(values: np.ndarray, value: float) -> Tensor:
        return F.pad(torch.from_numpy(values)[None], margin, value=value).to(inputs.features.device)

    return gather_evidence(
        padded(labels.astype(np.int64), IGNORE_INDEX),
        inputs.logits.shape[1],
        (inputs.features.shape[-2], inputs.features.shape[-1]),
        valid=padded(np.ones((height, width), np.bool_), False),
        confidence=None if confidence is None else padded(confidence, 0.0),
        tags=None if tags is None else torch.from_numpy(tags).to(inputs.features.device)[None],
    )


def pseudo_mask(
    probs: Tensor, labels: np.ndarray, threshold: float, *, confidence: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels where there are some, else the most probable classes, and 255 below the threshold.

    Args:
        probs: `[K, H, W]`.
        labels: uint8 `[H, W]`, 255 where unlabelled.
        threshold: least probability, 0..1.
        confidence: confidence of the labels, float32 `[H, W]`; 1 for all when None.

    Returns:
        Labels uint8 and confidence float32, both `[H, W]`. A pixel left unlabelled has the confidence of its most
        probable class.
    """
    certain, best = (part.cpu().numpy() for part in probs.max(0))
    given = labels != IGNORE_INDEX
    certain = np.where(given, np.float32(1) if confidence is None else confidence, certain.clip(0, 1))
    best = np.where(certain < threshold, IGNORE_INDEX, best)
    return np.where(given, labels, best).astype(np.uint8), certain.astype(np.float32)


def produce_from_pipeline(
    pipeline: GSSPipeline,
    spec: DataSpec,
    split: str,
    out: str | Path,
    cfg: ProduceConfig,
    *,
    source: str = "",
    overwrite: bool = False,
) -> Manifest:
    """Write pseudo-masks of a split from a pipeline and the weak labels of the images.

    Arguments and result are those of `gss.weak.produce.produce_masks`, with a loaded pipeline of the same classes in
    eval mode; `source` is its folder, for the manifest.

    Raises:
        InputError: other classes than the pipeline's, generated data, or what `PseudoMaskWriter` refuses.
    """
    require_labels(spec)
    dataset = cast(SegmentationDataset, open_split(spec, split))
    check_classes(list(pipeline.id2label.values()), dataset.label_space.names)

    def produce_mask(index: int) -> PseudoMask:
        image, labels = dataset.read(index)
        weak, confidence = dataset.read_weak(index)
        tags = None
        if cfg.tags == "labels":
            tags = count_labels(labels)[: dataset.label_space.num_classes] > 0
        elif cfg.tags == "data" and weak is not None and weak.exhaustive:
            tags = weak.present()
        probs = probabilities_given_labels(pipeline, image, labels, cfg, confidence=confidence, tags=tags)
        return PseudoMask(dataset.ids[index], *pseudo_mask(probs, labels, cfg.threshold, confidence=confidence))

    config = {"pipeline": source, **dataclasses.asdict(cfg)}
    form = "partial masks" if spec.weak is None else spec.weak.format
    writer = PseudoMaskWriter(out, spec, split, producer="agmm", config=config, form=form, overwrite=overwrite)
    with writer:
        writer.add_all(dataset.ids, produce_mask, title="producing")
    return writer.manifest
