"""`gss weak produce`: pseudo-masks from a trained pipeline, sharpened by what is labelled in each image."""

from __future__ import annotations

import argparse
import dataclasses
import math
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from gss.config.agmm import ProduceConfig
from gss.config.io import load_config
from gss.core import distributed
from gss.core.errors import InputError
from gss.data.datasets import SegmentationDataset
from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.evaluation.checks import check_classes
from gss.labels.space import IGNORE_INDEX
from gss.models.gaussians import full_precision
from gss.ood import ScoreInputs
from gss.pipeline.loading import load_pipeline
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.windows import resize_map
from gss.weak.agmm.evidence import Evidence, gather_evidence
from gss.weak.agmm.mixture import unit_features
from gss.weak.agmm.online_em import NEUTRAL_ENERGY, ClassBank, expectation_maximisation
from gss.weak.agmm.spread import finer_grids, spread
from gss.weak.pseudo_masks import PseudoMask, PseudoMaskWriter, summary
from gss.weak.tags.produce import is_classifier, produce


@torch.no_grad()
def posterior(
    pipeline: GSSPipeline,
    image: Any,
    labels: np.ndarray,
    cfg: ProduceConfig,
    *,
    confidence: np.ndarray | None = None,
    tags: np.ndarray | None = None,
) -> Tensor:
    """Class probabilities of an image given its weak labels, proportional to P_k G_k^mixture for the tagged classes.

    P is what the pipeline predicts, and G the score of a Gaussian for each class around its labelled pixels, after one
    round of expectation maximisation in the image. A class without a labelled pixel takes the score that a Gaussian
    has at one standard deviation. With `cfg.spread.steps`, labels and probabilities then spread over the image.

    Args:
        pipeline: with tokens or without; it sees the image as a whole.
        image: PIL, path, array or tensor of one image.
        labels: uint8 `[H, W]`, 255 where unlabelled.
        cfg: settings.
        confidence: of the labels, float32 `[H, W]` in 0..1; 1 for all when None.
        tags: the only classes the image may hold besides those labelled, bool `[K]`; any when None.

    Returns:
        float32 `[K, H, W]` on the pipeline's device.
    """
    resized = pipeline.preprocess(image).images[0]
    tokens = pipeline.vqvae is not None
    found = pipeline.score_inputs(resized[None], needs=("tokens", "decoded") if tokens else ())
    probs = found.decoded
    if probs is None:
        probs = F.interpolate(found.logits, size=found.size, mode="bilinear").softmax(1)
    # The network saw the image with padding below and to the right: so must labels, in their own scale.
    scales = found.size[0] / resized.shape[1], found.size[1] / resized.shape[2]
    evidence = _padded_evidence(labels, scales, found, confidence=confidence, tags=tags)
    with full_precision(found.features.device):
        mixture = expectation_maximisation(
            unit_features(found.features),
            found.logits.log_softmax(1),
            evidence,
            ClassBank(found.logits.shape[1], found.features.shape[1], 0.0).to(found.features.device),
            mixture=cfg.mixture,
            unlabelled=cfg.unlabelled,
            shrinkage=cfg.shrinkage,
        )
    energies = mixture.energies.where(mixture.known[..., None, None], NEUTRAL_ENERGY)
    energies = F.interpolate(energies, size=found.size, mode="bilinear")
    logits = probs.clamp(min=1e-12).log() - cfg.mixture * energies
    joint = logits.masked_fill(~evidence.allowed[..., None, None], -torch.inf).softmax(1)
    joint = joint[:, :, : resized.shape[1], : resized.shape[2]]
    if cfg.spread.steps:
        # The cells that the features have on the image, without those of the padding.
        cells = [
            math.ceil(a * b / c) for a, b, c in zip(found.features.shape[2:], joint.shape[2:], found.size, strict=True)
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
    found: ScoreInputs,
    *,
    confidence: np.ndarray | None,
    tags: np.ndarray | None,
) -> Evidence:
    """Labels on the grid of the features, which covers `scales` times the image."""
    height, width = labels.shape
    margin = (0, round(width * scales[1]) - width, 0, round(height * scales[0]) - height)

    def padded(values: np.ndarray, value: float) -> Tensor:
        return F.pad(torch.from_numpy(values)[None], margin, value=value).to(found.features.device)

    return gather_evidence(
        padded(labels.astype(np.int64), IGNORE_INDEX),
        found.logits.shape[1],
        (found.features.shape[-2], found.features.shape[-1]),
        valid=padded(np.ones((height, width), np.bool_), False),
        confidence=None if confidence is None else padded(confidence, 0.0),
        tags=None if tags is None else torch.from_numpy(tags).to(found.features.device)[None],
    )


def pseudo_mask(
    probs: Tensor, labels: np.ndarray, threshold: float, *, confidence: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The most probable classes, but labels where there are some, and 255 below the threshold.

    Args:
        probs: `[K, H, W]`.
        labels: uint8 `[H, W]`, 255 where unlabelled.
        threshold: 0..1.
        confidence: of the labels, float32 `[H, W]`; 1 for all when None.

    Returns:
        Labels uint8 and confidence float32, both `[H, W]`; the confidence of a pixel left unlabelled is that of the
        class it did not get.
    """
    certain, found = (part.cpu().numpy() for part in probs.max(0))
    given = labels != IGNORE_INDEX
    trust = np.float32(1) if confidence is None else confidence
    certain = np.where(given, trust, certain.clip(0, 1)).astype(np.float32)
    found = np.where(certain < threshold, IGNORE_INDEX, found)
    return np.where(given, labels, found).astype(np.uint8), certain


def main(args: argparse.Namespace) -> None:
    """Handle `gss weak produce`; for the folder of a tag classifier `gss.weak.tags.produce.produce` does.

    Args:
        args: `pipeline`, `settings`, `data`, `root`, `split`, `out`, `overwrite`.

    Raises:
        ValueError: other classes than the pipeline's, generated data, or no pixel kept anywhere.
    """
    if is_classifier(args.pipeline):
        produce(args)
        return
    cfg = load_config(ProduceConfig, [], args.settings)
    spec = load_spec(args.data, args.root)
    if spec.generator is not None:
        raise InputError(f"data set {spec.name!r} is generated and has full masks; make weak labels of it first")
    dataset = cast(SegmentationDataset, open_split(spec, args.split))
    pipeline = load_pipeline(args.pipeline)
    check_classes(list(pipeline.id2label.values()), dataset.label_space.names)
    config = {"pipeline": str(args.pipeline), **dataclasses.asdict(cfg)}
    form = "partial masks" if spec.weak is None else spec.weak.format
    writer = PseudoMaskWriter(
        args.out, spec, args.split, producer="agmm", config=config, form=form, overwrite=args.overwrite
    )
    with writer:
        mine = distributed.shard(len(dataset))
        for index in tqdm(mine, desc="producing", unit="img", disable=None if distributed.is_main() else True):
            image, labels = dataset.read(index)
            tags, confidence = _tags(dataset, index, labels, cfg), dataset.read_weak(index)[1]
            probs = posterior(pipeline, image, labels, cfg, confidence=confidence, tags=tags)
            found, certain = pseudo_mask(probs, labels, cfg.threshold, confidence=confidence)
            writer.add(PseudoMask(dataset.ids[index], found, certain))
    if distributed.is_main():
        print(summary(args.out))


def _tags(dataset: SegmentationDataset, index: int, labels: np.ndarray, cfg: ProduceConfig) -> np.ndarray | None:
    """The only classes of an image, if they are known."""
    if cfg.tags == "labels":
        return np.bincount(labels.ravel(), minlength=IGNORE_INDEX + 1)[: dataset.label_space.num_classes] > 0
    weak = dataset.read_weak(index)[0]
    return weak.present() if cfg.tags == "data" and weak is not None and weak.exhaustive else None
