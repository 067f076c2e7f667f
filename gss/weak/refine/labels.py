"""Partial or uncertain labels of an image to a pseudo-mask: `gss weak refine`, and the end of other producers."""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from gss.config.io import load_config
from gss.config.weak_labels import RefineConfig
from gss.core import distributed
from gss.core.errors import InputError
from gss.core.sampling import evenly_spaced
from gss.data.datasets import SegmentationDataset
from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.labels.space import IGNORE_INDEX
from gss.weak.pseudo_masks import PseudoMask, PseudoMaskWriter, summary
from gss.weak.refine.potts import edge_gates, potts_refine
from gss.weak.refine.walks import absorbing_walk, edge_affinity, edge_map, feature_affinity

# A label of confidence 1 has odds of 1000 to 1, and no link of a walk is weaker than this.
_CERTAIN, _WEAKEST = 1e-3, 1e-4
_COARSENING = 4


def refine_labels(
    image: np.ndarray,
    labels: np.ndarray,
    confidence: np.ndarray | None,
    num_classes: int,
    cfg: RefineConfig,
    *,
    allowed: np.ndarray | None = None,
    edges: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Spread labels over an image.

    Args:
        image: RGB uint8 `[H, W, 3]`.
        labels: uint8 `[H, W]`, 255 where unknown.
        confidence: of the labels, `[H, W]` in 0..1; None: all are certain.
        num_classes: K.
        cfg: settings.
        allowed: classes that the image may hold, bool `[K]`.
        edges: `[H, W]` in 0..1 from another source than the image.

    Returns:
        Labels uint8 `[H, W]`, 255 where the refinement abstains, and confidence float32 `[H, W]`.
    """
    known = labels != IGNORE_INDEX
    if allowed is not None:
        known = known & np.append(allowed, np.zeros(256 - num_classes, bool))[labels]
    shown = np.flatnonzero(np.bincount(labels[known], minlength=num_classes))
    if not len(shown):
        return np.full(labels.shape, IGNORE_INDEX, np.uint8), np.zeros(labels.shape, np.float32)
    certain = np.ones(labels.shape, np.float32) if confidence is None else confidence.astype(np.float32)
    # With a confidence c the label stands for c at its class and 1 - c shared by the others that are shown.
    rest = (1 - np.maximum(certain, 1 / len(shown))) / max(len(shown) - 1, 1)
    probs = np.stack([np.where(labels == k, 1 - rest * (len(shown) - 1), rest) for k in shown])
    probs[:, ~known] = 1 / len(shown)
    compact, sure = refine_probs(image, probs, np.where(known, certain, 0), cfg, edges=edges)
    lookup = np.full(256, IGNORE_INDEX, np.uint8)
    lookup[: len(shown)] = shown
    return lookup[compact], sure


def refine_probs(
    image: np.ndarray,
    probs: np.ndarray,
    confidence: np.ndarray | None,
    cfg: RefineConfig,
    *,
    edges: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Refine class probabilities along the edges of an image.

    1. A walker goes from every cell over links that edges and differences of colour make weak, until a label holds it:
       first on a coarse grid, whose answer starts the fine one. Where it ends is the new distribution, and the
       confidence.
    2. Potts steps on the pixels move borders onto edges.

    Args:
        image: RGB uint8 `[H, W, 3]`.
        probs: float `[K, H, W]`, summing to 1 over K.
        confidence: of each pixel in 0..1, 0 where nothing is known; None takes the largest probability.
        cfg: settings.
        edges: `[H, W]` in 0..1 from another source than the image.

    Returns:
        Labels uint8 `[H, W]`, 255 where their confidence is below `cfg.abstain`, and confidence float32 `[H, W]`.

    Raises:
        ValueError: the sizes differ.
    """
    size = image.shape[:2]
    if probs.ndim != 3 or probs.shape[1:] != size:
        raise InputError(f"probs must be [K, {size[0]}, {size[1]}] as the image, got {list(probs.shape)}")
    certain = probs.max(0) if confidence is None else confidence
    if certain.shape != size:
        raise InputError(f"confidence must be {list(size)} as the image, got {list(certain.shape)}")
    if not certain.any():
        return np.full(size, IGNORE_INDEX, np.uint8), np.zeros(size, np.float32)
    sharp = edge_map(image) if edges is None else edges.astype(np.float32)
    strength = cfg.hold * certain / (1 - certain + _CERTAIN)
    evidence = (probs * strength).astype(np.float32)
    pixels, found = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32)), None
    for stride in (_COARSENING * cfg.stride, cfg.stride):
        found = _walk(pixels, torch.from_numpy(evidence), strength, sharp, edges is not None, stride, found, cfg)
    assert found is not None
    spread = F.interpolate(found[None], size=_padded(size, cfg.stride), mode="bilinear")[0, :, : size[0], : size[1]]
    spread = spread.clamp_min(0) / spread.clamp_min(0).sum(0).clamp_min(1e-12)
    soft = spread
    if cfg.iterations and cfg.potts:
        held = torch.from_numpy((certain > 1 - _CERTAIN).astype(np.float32))
        own = torch.where(held > 0, torch.from_numpy(probs.astype(np.float32)), spread)
        gates = edge_gates(torch.from_numpy(sharp))
        soft = potts_refine(own, 0.1 + 10 * held, gates, strength=cfg.potts, iterations=cfg.iterations)
    best = soft.argmax(0)
    sure = spread.gather(0, best[None])[0].numpy()
    # Certain labels stay what they are.
    fixed = certain > 1 - _CERTAIN
    labels = np.where(fixed, probs.argmax(0), best.numpy()).astype(np.uint8)
    sure = np.where(fixed, np.float32(1), np.minimum(sure, 1))
    return np.where(sure >= cfg.abstain, labels, np.uint8(IGNORE_INDEX)), sure


def _walk(
    pixels: torch.Tensor,
    evidence: torch.Tensor,
    strength: np.ndarray,
    edges: np.ndarray,
    own_edges: bool,
    stride: int,
    start: torch.Tensor | None,
    cfg: RefineConfig,
) -> torch.Tensor:
    """Distributions of the cells of a grid `[K, h, w]`."""
    cells, seeds = _mean(pixels, stride), _mean(evidence, stride)
    force = _mean(torch.from_numpy(strength.astype(np.float32))[None], stride)[0]
    K, h, w = seeds.shape
    small = cells.permute(1, 2, 0).numpy()
    # Edges of the picture are found at the size of the cells; those of another source are kept by their maximum.
    barrier = edge_map(small, smooth=0.7) if not own_edges else _largest(edges, stride)
    links = edge_affinity(barrier, radius=cfg.radius, power=cfg.edge)
    links = links.multiply(feature_affinity(cells.numpy(), radius=cfg.radius, scale=cfg.color)).tocsr()
    links.data = np.maximum(links.data, _WEAKEST).astype(np.float32)
    targets = seeds / force.clamp_min(1e-12)
    if start is not None:
        start = F.interpolate(start[None], size=(h, w), mode="bilinear")[0]
        start = start.reshape(K, -1).t()
    found = absorbing_walk(
        links,
        targets.reshape(K, -1).t().numpy(),
        force.flatten().numpy(),
        start=None if start is None else start.numpy(),
        tolerance=1e-3,
    )
    return torch.from_numpy(found.T.reshape(K, h, w).copy())


def _mean(values: torch.Tensor, stride: int) -> torch.Tensor:
    """Means `[C, h, w]` over cells; at the lower and right edge over the pixels that are there."""
    return F.avg_pool2d(values[None], stride, ceil_mode=True)[0]


def _largest(values: np.ndarray, stride: int) -> np.ndarray:
    return F.max_pool2d(torch.from_numpy(values)[None, None], stride, ceil_mode=True)[0, 0].numpy()


def _padded(size: tuple[int, ...], stride: int) -> tuple[int, int]:
    return -(-size[0] // stride) * stride, -(-size[1] // stride) * stride


def main(args: argparse.Namespace) -> None:
    """Handle `gss weak refine`."""
    from gss.config.io import split_overrides

    cfg = load_config(RefineConfig, *split_overrides(args.settings))
    spec = load_spec(args.spec, args.root)
    dataset = open_split(spec, args.split)
    if not isinstance(dataset, SegmentationDataset) or dataset.weak is None:
        raise InputError(f"split {args.split!r} of data set {spec.name!r} has no weak labels to refine")
    chosen = evenly_spaced(len(dataset), args.limit)
    writer = PseudoMaskWriter(
        args.out,
        spec,
        args.split,
        producer="refine",
        config={**dataclasses.asdict(cfg), "labels": spec.name},
        form=dataset.weak.source.format,
        overwrite=args.overwrite,
    )
    torch.set_grad_enabled(False)
    with writer:
        mine = distributed.shard(len(chosen))
        for number in tqdm(mine, desc="refining", unit="img", disable=None if distributed.is_main() else True):
            index = chosen[number]
            image, labels = dataset.read(index)
            weak, confidence = dataset.read_weak(index)
            allowed = weak.present() if weak is not None and weak.exhaustive else None
            refined, sure = refine_labels(
                np.asarray(image), labels, confidence, dataset.label_space.num_classes, cfg, allowed=allowed
            )
            writer.add(PseudoMask(dataset.ids[index], refined, sure))
    if distributed.is_main():
        print(summary(args.out))
