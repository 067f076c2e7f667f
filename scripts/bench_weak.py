"""Learning from weak labels against plain statements of the same formulas: time, peak memory and equality of results.

    python scripts/bench_weak.py [--quick] [--only NAME] [--json FILE] [--repeats N] [--threads N] [--cpu-time]

How it measures is described in `bench_core.py`. The peers loop over images, classes or thresholds, enlarge features to
the labels, hold every difference at once, or square a dense matrix: what one writes down first. The error is the
largest absolute difference; for gradients it is relative to the largest one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from bench_core import Case, Row, farthest, run
from scipy.sparse import diags_array
from scipy.sparse.linalg import spsolve
from torch import Tensor
from torch.nn import functional as F

from gss.labels.space import IGNORE_INDEX
from gss.metrics.label_quality import BINS, LabelQuality
from gss.weak.agmm.mixture import (
    adaptive_variance,
    class_means,
    energy,
    label_mass,
    mean_absolute_distance,
    mean_squared_distance,
    repulsion,
)
from gss.weak.agmm.spread import absorb, color_links
from gss.weak.refine.walks import absorbing_walk, edge_affinity, image_links, random_walk
from gss.weak.tags.losses import distance_loss
from gss.weak.tags.seed_curve import SeedCurve

# The network of the AGMM paper on PASCAL VOC: 256 channels at stride 4 of crops of 321 pixels.
CLASSES, CHANNELS, GRID, CROP = 21, 256, (81, 81), (321, 321)
IMAGES = 4


def weak_masks(form: str, images: int, size: tuple[int, int], classes: int) -> Tensor:
    """Labels `[B, H, W]` of four classes an image: discs of 3 pixels, strokes, or blocks over half of the image."""
    rng = np.random.default_rng(0)
    height, width = size
    labels = np.full((images, height, width), IGNORE_INDEX, np.int64)
    for image in labels:
        present = rng.choice(classes, 4, replace=False)
        for number, label in enumerate(present.repeat(3)):
            y, x = rng.integers(2, height - 2), rng.integers(2, width - 2)
            if form == "points":
                image[y - 1 : y + 2, x - 1 : x + 2] = label
            elif form == "scribbles":
                image[y - 1 : y + 2, : width // 2] = label
            else:
                top, left = divmod(number, 4)
                rows, columns = height // 6, width // 4
                image[2 * top * rows : (2 * top + 1) * rows, left * columns : (left + 1) * columns] = label
    return torch.from_numpy(labels)


def prototypes(form: str) -> Callable[[bool], Case]:
    """Mean features of the labelled pixels of each class and image."""

    def build(quick: bool) -> Case:
        grid, size, dim = ((12, 15), (48, 60), 32) if quick else (GRID, CROP, CHANNELS)
        features = torch.randn(IMAGES, dim, *grid).relu()
        labels = weak_masks(form, IMAGES, size, CLASSES)

        def ours() -> Tensor:
            return class_means(features, label_mass(labels, CLASSES, grid))[0]

        def peer() -> Tensor:
            enlarged = F.interpolate(features, size=size, mode="bilinear")
            means = torch.zeros(IMAGES, CLASSES, dim)
            for b in range(IMAGES):
                for k in range(CLASSES):
                    here = labels[b] == k
                    if here.any():
                        means[b, k] = enlarged[b][:, here].mean(1)
            return means

        return Case(ours, peer, farthest)

    return build


def mixture_map(squares: bool) -> Callable[[bool], Case]:
    """Scores exp(-d^2 / 2 s^2) of all classes, s^2 from the network's belief; d absolute or squared differences."""

    def build(quick: bool) -> Case:
        grid, dim, images = ((12, 15), 32, 2) if quick else (GRID, CHANNELS, 2)
        features, means = torch.randn(images, dim, *grid).relu(), torch.rand(images, CLASSES, dim)
        belief = torch.randn(images, CLASSES, *grid).softmax(1)

        def ours() -> Tensor:
            squared = (
                mean_squared_distance(features, means) if squares else mean_absolute_distance(features, means).square()
            )
            return (-energy(squared, adaptive_variance(squared, belief))).exp()

        def peer() -> Tensor:
            apart = features[:, None] - means[..., None, None]
            squared = apart.square().mean(2) if squares else apart.abs().mean(2).square()
            variance = (belief * squared).sum((2, 3)) / belief.sum((2, 3))
            return (-squared / (2 * variance)[..., None, None]).exp()

        return Case(ours, peer, farthest)

    return build


def push(classes: int) -> Callable[[bool], Case]:
    """Mean closeness of the means of two different classes, and its gradient."""

    def build(quick: bool) -> Case:
        count = min(classes, 12) if quick else classes
        means = (torch.randn(1, count, CHANNELS) * 0.1).requires_grad_()
        present = torch.ones(1, count, dtype=torch.bool)

        def ours() -> Tensor:
            apart = mean_absolute_distance(means.transpose(1, 2)[..., None], means)[..., 0]
            loss = repulsion((-apart.square()).exp(), present).mean()
            return torch.autograd.grad(loss, means)[0]

        def peer() -> Tensor:
            loss, pairs = torch.zeros(()), 0
            for i in range(count):
                for j in range(i + 1, count):
                    loss = loss + (-(means[0, i] - means[0, j]).abs().mean().square()).exp()
                    pairs += 1
            return torch.autograd.grad(loss / pairs, means)[0]

        return Case(ours, peer, lambda a, b: farthest(a, b) / float(b.abs().max()))

    return build


def walk(side: int, dense: bool) -> Callable[[bool], Case]:
    """256 steps of a random walk of the scores of all classes over the pixels of an image."""

    def build(quick: bool) -> Case:
        length = min(side, 12) if quick else side
        rng = np.random.default_rng(0)
        edges = rng.random((length, length), np.float32) ** 3
        affinity = edge_affinity(edges, radius=5.0, power=10.0)
        scores = rng.random((length * length, CLASSES), np.float32)

        def ours() -> np.ndarray:
            return random_walk(affinity, scores, steps=256)

        def squarings() -> np.ndarray:
            matrix = torch.from_numpy(affinity.toarray())
            matrix = matrix / matrix.sum(1, keepdim=True)
            for _ in range(8):
                matrix = matrix @ matrix
            return (matrix @ torch.from_numpy(scores)).numpy()

        def products() -> np.ndarray:
            degree, found = np.asarray(affinity.sum(axis=1))[:, None], scores
            for _ in range(256):
                found = (affinity @ found) / degree
            return found

        return Case(ours, squarings if dense else products, lambda a, b: float(np.abs(a - b).max()))

    return build


def absorbing(quick: bool) -> Case:
    """Absorbing walk over the cells of an image of 192x256 pixels, 2 % of them labelled, for all classes."""
    h, w = (9, 12) if quick else (96, 128)
    rng = np.random.default_rng(0)
    links = image_links(rng.random((3, h, w)) * 60, radius=2.0, edge=2.0, color=15.0, weakest=1e-4)
    strength = np.where(rng.random(h * w) < 0.02, 50.0, 0.0)
    strength[0] = 50.0
    targets = rng.dirichlet(np.ones(11), h * w)

    def ours() -> np.ndarray:
        return absorbing_walk(links, targets, strength)

    def peer() -> np.ndarray:
        outside = links.astype(np.float64)
        outside.setdiag(0)
        system = (diags_array(strength + np.asarray(outside.sum(axis=1))) - outside).tocsc()
        return np.stack([spsolve(system, strength * target) for target in targets.T], 1)

    return Case(ours, peer, lambda a, b: float(np.abs(a - b).max()))


def spread_steps(quick: bool) -> Case:
    """Twenty steps of a walk along colours, for all images and classes of a batch."""
    images, classes, (h, w), steps = (2, 4, (9, 12), 5) if quick else (8, 11, (72, 96), 20)
    pixels = torch.rand(images, 3, 2 * h, 2 * w)
    belief = torch.randn(images, classes, h, w).softmax(1)
    certainty = 0.5 * torch.rand(images, h, w)
    links = color_links(pixels, torch.ones(images, h, w), contrast=0.1)

    def ours() -> Tensor:
        return absorb(belief, certainty, links, hold=0.1, steps=steps)

    def peer() -> Tensor:
        cells = F.adaptive_avg_pool2d(pixels, (h, w))

        def around(x: Tensor) -> Tensor:
            return F.unfold(x, 3, padding=1).view(len(x), x.shape[1], 9, h, w)

        squared = (around(cells) - cells[:, :, None]).square().sum(1)
        there = around(torch.ones(1, 1, h, w))[:, 0]
        there[:, 4] = 0  # the cell itself
        mean = (squared * there).sum((1, 2, 3)) / there.sum()
        weights = (-squared / (0.2 * mean[:, None, None, None])).exp().clamp(min=1e-4) * there
        odds = 0.1 * certainty / (1 - certainty + 1e-3)
        found = belief
        for _ in range(steps):
            total = (around(found) * weights[:, None]).sum(2) + odds[:, None] * belief
            found = total / (weights.sum(1) + odds)[:, None]
        return found

    return Case(ours, peer, farthest)


def sweep(quick: bool) -> Case:
    """Coverage and precision of 20 images of 500x375 pixels at 20 thresholds of their confidence."""
    rng = np.random.default_rng(0)
    shape = (4, 40, 50) if quick else (20, 375, 500)
    truth = rng.integers(0, CLASSES, shape).astype(np.uint8)
    confidence = rng.random(shape, np.float32)
    labels = np.where(rng.random(shape, np.float32) < confidence, truth, 0).astype(np.uint8)

    def ours() -> np.ndarray:
        quality = LabelQuality(CLASSES)
        for drawn, sure, true in zip(labels, confidence, truth, strict=True):
            quality.update(drawn, sure, true)
        return np.array([(point["coverage"], point["precision"]) for point in quality.compute()["curve"]])

    def peer() -> np.ndarray:
        rows = []
        for k in range(BINS):
            confusion = np.zeros((CLASSES + 1, CLASSES + 1), np.int64)
            for drawn, sure, true in zip(labels, confidence, truth, strict=True):
                kept = np.where(np.round(sure * 65535).astype(np.int64) * BINS > 65535 * k, drawn, CLASSES)
                kept = drawn if k == 0 else kept
                pairs = true.astype(np.int64) * (CLASSES + 1) + kept
                confusion += np.bincount(pairs.ravel(), minlength=(CLASSES + 1) ** 2).reshape(CLASSES + 1, -1)
            kept_pixels = confusion[:, :CLASSES].sum()
            rows.append((kept_pixels / confusion.sum(), np.trace(confusion[:CLASSES, :CLASSES]) / kept_pixels))
        return np.array(rows)

    return Case(ours, peer, lambda a, b: float(np.abs(a - b).max()))


def seed_sweep(quick: bool) -> Case:
    """mIoU of the seeds of 20 images of 500x375 pixels at 100 thresholds of their activation maps, 0 is background."""
    rng = np.random.default_rng(0)
    shape = (4, 40, 50) if quick else (20, 375, 500)
    truth = rng.integers(0, CLASSES, shape).astype(np.uint8)
    labels = rng.integers(1, CLASSES, shape)
    scores = ((rng.integers(0, 100, shape) + 0.5) / 100).astype(np.float32)  # no threshold is met exactly

    def ours() -> np.ndarray:
        curve = SeedCurve(CLASSES, 0)
        for found, sure, true in zip(labels, scores, truth, strict=True):
            curve.update(found, sure, true)
        return np.array([quality.miou for quality in curve.compute()])

    def peer() -> np.ndarray:
        rows = []
        for level in range(1, 101):
            confusion = np.zeros((CLASSES, CLASSES), np.int64)
            for found, sure, true in zip(labels, scores, truth, strict=True):
                pairs = true.astype(np.int64) * CLASSES + np.where(sure >= np.float32(level / 100), found, 0)
                confusion += np.bincount(pairs.ravel(), minlength=CLASSES**2).reshape(CLASSES, CLASSES)
            hits = confusion.diagonal()
            rows.append((hits / (confusion.sum(0) + confusion.sum(1) - hits)).mean())
        return np.array(rows)

    return Case(ours, peer, lambda a, b: float(np.abs(a - b).max()))


def ood_distance(clusters: int) -> Callable[[bool], Case]:
    """Gradient of the pull to own class centres and the push from the nearest fifth of the clusters."""

    def build(quick: bool) -> Case:
        images, dim, classes = (4, 32, 5) if quick else (16, 2048, 20)
        features = torch.randn(images, dim, requires_grad=True)
        tags = torch.rand(images, classes) < 0.15
        tags[torch.arange(images), torch.arange(images) % classes] = True
        own, away = torch.randn(classes, dim), torch.randn(clusters, dim)
        seen = torch.ones(classes, dtype=torch.bool)

        def ours() -> Tensor:
            loss = distance_loss(features, tags, own, seen, away)
            return torch.autograd.grad(loss, features)[0]

        def peer() -> Tensor:
            pulled, distances = torch.zeros(()), []
            for b in range(images):
                for k in range(classes):
                    if tags[b, k]:
                        pulled = pulled + (features[b] - own[k]).square().sum().sqrt()
                distances += [(features[b] - away[m]).square().sum().sqrt() for m in range(clusters)]
            limit = sorted(float(d.detach()) for d in distances)[int(np.ceil(0.2 * len(distances) - 1e-6)) - 1]
            pushed = sum((d for d in distances if float(d.detach()) <= limit), torch.zeros(()))
            loss = 0.02 * pulled / images - pushed / len(distances)
            return torch.autograd.grad(loss, features)[0]

        return Case(ours, peer, lambda a, b: farthest(a, b) / float(b.abs().max()))

    return build


ROWS = [
    *(
        Row(f"class means, {form}, 4x321x321, D=256", "enlarge, loop over classes", prototypes(form))
        for form in ("points", "scribbles", "blocks")
    ),
    Row("mixture map, L1, 2x81x81, K=21, D=256", "all differences at once", mixture_map(False)),
    Row("mixture map, L2, 2x81x81, K=21, D=256", "all differences at once", mixture_map(True)),
    Row("repulsion + gradient, K=21", "loop over pairs", push(21)),
    Row("repulsion + gradient, K=150", "loop over pairs", push(150)),
    Row("random walk, 256 steps, 48x48", "dense matrix squared 8 times", walk(48, dense=True)),
    Row("random walk, 256 steps, 128x128", "256 sparse products", walk(128, dense=False)),
    Row("absorbing walk, 96x128 cells, K=11", "a sparse solve for each class", absorbing),
    Row("20 steps along colours, 8x72x96, K=11", "all neighbours at once", spread_steps),
    Row("20 thresholds of 20 images, K=21", "a pass for each threshold", sweep),
    Row("seeds at 100 thresholds, 20 images, K=21", "a pass for each threshold", seed_sweep),
    Row("distance loss + gradient, 16 images, M=50", "loop over images and centres", ood_distance(50)),
    Row("distance loss + gradient, 16 images, M=500", "loop over images and centres", ood_distance(500)),
]

if __name__ == "__main__":
    run(ROWS, __doc__ or "")
