"""Partial or uncertain labels of an image to a pseudo-mask: `gss weak refine`, and the last step of other producers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from gss.config.weak_labels import RefineConfig
from gss.core.errors import InputError
from gss.core.sampling import evenly_spaced
from gss.data.datasets import SegmentationDataset
from gss.data.open import open_split
from gss.data.specs.spec import DataSpec
from gss.labels.space import IGNORE_INDEX
from gss.weak.manifest import Manifest
from gss.weak.pseudo_masks import PseudoMask, PseudoMaskWriter
from gss.weak.refine.potts import edge_gates, potts_refine
from gss.weak.refine.walks import absorbing_walk, edge_map, image_links

# A label of confidence 1 has odds of 1000 to 1, and no link of a walk is weaker than this.
_CERTAIN, _WEAKEST = 1e-3, 1e-4


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
        confidence: confidence of the labels, `[H, W]` in 0..1; None: all are certain.
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
    classes = np.flatnonzero(np.bincount(labels[known], minlength=num_classes))
    if not len(classes):
        return np.full(labels.shape, IGNORE_INDEX, np.uint8), np.zeros(labels.shape, np.float32)
    certain = np.ones(labels.shape, np.float32) if confidence is None else confidence.astype(np.float32)
    # A label of confidence c stands for the probability c; the other labelled classes share 1 - c.
    rest = (1 - np.maximum(certain, 1 / len(classes))) / max(len(classes) - 1, 1)
    probs = np.stack([np.where(labels == k, 1 - rest * (len(classes) - 1), rest) for k in classes])
    probs[:, ~known] = 1 / len(classes)
    compact, sure = refine_probs(image, probs, np.where(known, certain, 0), cfg, edges=edges)
    lookup = np.full(256, IGNORE_INDEX, np.uint8)
    lookup[: len(classes)] = classes
    return lookup[compact], sure


def spread_labels(image: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Spread given labels over a whole image by the walk of `refine_labels`, of its default settings.

    Args:
        image: RGB uint8 `[H, W, 3]`.
        labels: uint8 `[H, W]`, 255 where unknown.
        num_classes: K.

    Returns:
        Labels uint8 `[H, W]`, given ones as given; 255 everywhere where nothing is given.
    """
    return refine_labels(image, labels, None, num_classes, RefineConfig(abstain=0.0))[0]


def refine_probs(
    image: np.ndarray,
    probs: np.ndarray,
    confidence: np.ndarray | None,
    cfg: RefineConfig,
    *,
    edges: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Refine class probabilities along the edges of an image.

    Args:
        image: RGB uint8 `[H, W, 3]`.
        probs: float `[K, H, W]`, summing to 1 over K.
        confidence: confidence of each pixel in 0..1, 0 where nothing is known; the largest probability by default.
        cfg: settings.
        edges: `[H, W]` in 0..1 from another source than the image.

    Returns:
        Labels uint8 `[H, W]`, 255 where their confidence is below `cfg.abstain`, and confidence float32 `[H, W]`.

    Raises:
        InputError: the sizes differ.
    """
    size = image.shape[:2]
    if probs.ndim != 3 or probs.shape[1:] != size:
        raise InputError(f"probs must be [K, {size[0]}, {size[1]}] as the image, got {list(probs.shape)}")
    certain = probs.max(0) if confidence is None else confidence
    if certain.shape != size:
        raise InputError(f"confidence must be {list(size)} as the image, got {list(certain.shape)}")
    if not certain.any():
        return np.full(size, IGNORE_INDEX, np.uint8), np.zeros(size, np.float32)
    # 1. From every cell a walker goes over links that edges and differences of colour make weak, until it stops at a
    # label. The distribution of where it stops is the new one of the cell.
    spread = _walk(image, probs, certain, edges, cfg)  # [K, H, W]
    # 2. Potts steps on the pixels move borders onto edges.
    soft = spread
    if cfg.iterations and cfg.potts:
        held = torch.from_numpy((certain > 1 - _CERTAIN).astype(np.float32))
        given = torch.where(held > 0, torch.from_numpy(probs.astype(np.float32)), spread)
        gates = edge_gates(torch.from_numpy(edge_map(image) if edges is None else edges.astype(np.float32)))
        soft = potts_refine(given, 0.1 + 10 * held, gates, strength=cfg.potts, iterations=cfg.iterations)
    # 3. Certain labels stay as they are; the others have the confidence that the walk gives their class.
    best = soft.argmax(0)
    sure = spread.gather(0, best[None])[0].numpy()
    fixed = certain > 1 - _CERTAIN
    labels = np.where(fixed, probs.argmax(0), best.numpy()).astype(np.uint8)
    sure = np.where(fixed, np.float32(1), np.minimum(sure, 1))
    return np.where(sure >= cfg.abstain, labels, np.uint8(IGNORE_INDEX)), sure


def _walk(
    image: np.ndarray, probs: np.ndarray, certain: np.ndarray, edges: np.ndarray | None, cfg: RefineConfig
) -> torch.Tensor:
    """Return the distributions `[K, H, W]` of an absorbing walk on cells of `cfg.stride` pixels."""
    stride, (height, width) = cfg.stride, certain.shape
    strength = (cfg.hold * certain / (1 - certain + _CERTAIN)).astype(np.float32)
    force = _mean(strength[None], stride)[0]  # [h, w]
    seeds = _mean(probs * strength, stride)  # [K, h, w]
    targets = seeds / force.clamp_min(1e-12)
    # Edges of the image are found at the size of the cells; of those of another source each cell has the largest.
    barrier = None
    if edges is not None:
        pooled = torch.from_numpy(edges.astype(np.float32))[None, None]
        barrier = F.max_pool2d(pooled, stride, ceil_mode=True)[0, 0].numpy()
    cells = _mean(image.transpose(2, 0, 1), stride).numpy()
    links = image_links(cells, radius=cfg.radius, edge=cfg.edge, color=cfg.color, weakest=_WEAKEST, barrier=barrier)
    found = absorbing_walk(links, targets.flatten(1).t().numpy(), force.flatten().numpy())  # [h*w, K]
    grid = torch.from_numpy(found.T.copy()).reshape(1, *seeds.shape)
    padded = [grid.shape[2] * stride, grid.shape[3] * stride]
    spread = F.interpolate(grid, size=padded, mode="bilinear")[0, :, :height, :width].clamp_min(0)
    return spread / spread.sum(0).clamp_min(1e-12)


def _mean(values: np.ndarray, stride: int) -> torch.Tensor:
    """Return means over cells, float32 `[C, h, w]`; at the lower and right edge over the pixels that are there."""
    return F.avg_pool2d(torch.from_numpy(values.astype(np.float32))[None], stride, ceil_mode=True)[0]


@torch.no_grad()
def refine_split(
    spec: DataSpec, split: str, out: str | Path, cfg: RefineConfig, *, limit: int | None = None, overwrite: bool = False
) -> Manifest:
    """Write pseudo-masks that refine the weak labels of a split.

    Args:
        spec: data set with weak labels.
        split: split of the images.
        out: output folder.
        cfg: settings.
        limit: number of images, evenly spaced; all by default.
        overwrite: accept a folder that holds files.

    Returns:
        Manifest of the folder.

    Raises:
        InputError: the split has no weak labels, or what `PseudoMaskWriter` refuses.
    """
    dataset = open_split(spec, split)
    if not isinstance(dataset, SegmentationDataset) or dataset.weak is None:
        raise InputError(f"split {split!r} of data set {spec.name!r} has no weak labels to refine")
    chosen = evenly_spaced(len(dataset), limit)

    def refine(position: int) -> PseudoMask:
        index = chosen[position]
        image, labels = dataset.read(index)
        weak, confidence = dataset.read_weak(index)
        allowed = weak.present() if weak is not None and weak.exhaustive else None
        classes = dataset.label_space.num_classes
        return PseudoMask(
            dataset.ids[index], *refine_labels(np.asarray(image), labels, confidence, classes, cfg, allowed=allowed)
        )

    writer = PseudoMaskWriter(
        out,
        spec,
        split,
        producer="refine",
        config={**dataclasses.asdict(cfg), "labels": spec.name},
        form=dataset.weak.source.format,
        overwrite=overwrite,
    )
    with writer:
        writer.add_all([dataset.ids[index] for index in chosen], refine, title="refining")
    return writer.manifest
