"""Adaptive Gaussian mixtures: one Gaussian per class and image in feature space, from the labelled pixels.

After "Sparsely Annotated Semantic Segmentation with Adaptive Gaussian Mixtures" (Wu et al., CVPR 2023), whose
equations are cited. All tensors are on the grid of the features `[B, D, h, w]`. `label_mass` brings labelled pixels
onto the grid by the transpose of bilinear enlargement: a mean of enlarged features (or losses) over labelled pixels is
then a sum over cells, and no tensor of size H x W x D or h x w x K x D is needed.

Each loss is one number per image `[B]` and depends on that image alone. It is 0, with a gradient of 0, for an image
without labelled pixels, with fewer than two classes or without tags, whichever it needs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gss.labels.space import IGNORE_INDEX

# Below this, 1 - p is treated as EPS: the logarithm stays finite, and its gradient stays at 1 / EPS.
EPS = 1e-4
VARIANCE_FLOOR = 1e-4


def label_mass(labels: Tensor, num_classes: int, grid: tuple[int, int], *, confidence: Tensor | None = None) -> Tensor:
    """Return the weight of the labelled pixels of every class in each cell, float32 `[B, K, h, w]`, in pixels.

    `(label_mass * x).sum((-1, -2))` is the sum over the labelled pixels of x enlarged to `[H, W]` (bilinear,
    `align_corners=False`), so a map sums to the number of its labelled pixels.

    Args:
        labels: int64 `[B, H, W]`, 0..K-1; other values are unlabelled.
        num_classes: K.
        grid: (h, w).
        confidence: `[B, H, W]`, weight of each label; 1 for all when None.
    """
    batch, height, width = labels.shape
    (h, w), device = grid, labels.device
    labelled = (labels >= 0) & (labels < num_classes)
    pixels = labelled.float() if confidence is None else labelled * confidence.float()
    rows, row_weights = _corners(height, h, device)
    columns, column_weights = _corners(width, w, device)
    image = torch.arange(batch, device=device)[:, None, None]
    plane = (image * num_classes + torch.where(labelled, labels, 0)) * (h * w)
    mass = torch.zeros(batch * num_classes * h * w, device=device)
    for y, row_weight in zip(rows, row_weights, strict=True):
        for x, column_weight in zip(columns, column_weights, strict=True):
            weights = row_weight[:, None] * column_weight * pixels
            mass.index_add_(0, (plane + (y[:, None] * w + x)).flatten(), weights.flatten())
    return mass.view(batch, num_classes, h, w)


def _corners(size: int, cells: int, device: torch.device) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the two cells that each pixel of the enlarged axis is interpolated from, and their weights."""
    source = ((torch.arange(size, device=device) + 0.5) * (cells / size) - 0.5).clamp(min=0)
    lower = source.long().clamp(max=cells - 1)
    share = source - lower
    return (lower, (lower + 1).clamp(max=cells - 1)), (1 - share, share)


def class_means(features: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted mean feature of every class of every image.

    Args:
        features: `[B, D, h, w]`.
        weights: `[B, K, h, w]`, at least 0.

    Returns:
        Means `[B, K, D]` (0 for a class without weight) and total weights `[B, K]`.
    """
    flat = weights.flatten(2).to(features.dtype)
    total = flat.sum(2)
    return flat @ features.flatten(2).transpose(1, 2) / _or_one(total)[..., None], total


def mean_absolute_distance(features: Tensor, means: Tensor) -> Tensor:
    """Return absolute differences averaged over channels, `[B, K, h, w]`, of `[B, D, h, w]` to `[B, K, D]`."""
    batch, dim, h, w = features.shape
    # Rows are cells [B, h*w, K], so that cdist needs no more memory than its result.
    rows = torch.cdist(features.flatten(2).transpose(1, 2), means, p=1.0) / dim
    return rows.transpose(1, 2).view(batch, -1, h, w)


def mean_squared_distance(features: Tensor, means: Tensor) -> Tensor:
    """Return squared differences averaged over channels, `[B, K, h, w]`, of `[B, D, h, w]` to `[B, K, D]`."""
    batch, dim, h, w = features.shape
    flat = features.flatten(2)
    dots = means @ flat
    squares = flat.square().sum(1, keepdim=True) + means.square().sum(2, keepdim=True)
    return ((squares - 2 * dots).clamp(min=0) / dim).view(batch, -1, h, w)


def unit_features(features: Tensor) -> Tensor:
    """Return features scaled to mean square 1 over the channels of every cell, so that distances have a fixed scale."""
    return features * (features.square().mean(1, keepdim=True) + 1e-6).rsqrt()


def adaptive_variance(
    squared: Tensor, weights: Tensor, *, prior: Tensor | None = None, strength: float = 0.0
) -> Tensor:
    """Return the variance of every class: the weighted mean of squared distances (eq. 6), shrunk towards a prior.

    Args:
        squared: `[B, K, h, w]`, squared distances to the class means.
        weights: `[B, K, h, w]`, weight of each cell for each class, in pixels.
        prior: `[B, K]`, variance to shrink to; needed with `strength`.
        strength: weight of the prior, in pixels.

    Returns:
        `[B, K]` without gradient, at least 1e-4 (also for a class without weight).
    """
    with torch.no_grad():
        total = weights.sum((2, 3))
        spread = (weights * squared).sum((2, 3))
        if prior is not None:
            total, spread = total + strength, spread + strength * prior
        return (spread / _or_one(total)).clamp(min=VARIANCE_FLOOR)


def energy(squared: Tensor, variance: Tensor) -> Tensor:
    """Return -log of the score G = exp(-d^2 / 2 s^2) (eq. 7), `[B, K, h, w]`, of squared distances and `[B, K]`."""
    return squared / (2 * variance)[..., None, None]


def image_weights(labels: Tensor, confidence: Tensor | None = None) -> Tensor:
    """Return pixel weights that give every image with labels the same total weight.

    Args:
        labels: int64 `[B, H, W]`, 255 where unlabelled.
        confidence: `[B, H, W]`, weight of each label; 1 for all when None.

    Returns:
        `[B, H, W]`, 0 where unlabelled; the sum over an image is 1, or 0 without labels.
    """
    weights = (labels != IGNORE_INDEX).float()
    if confidence is not None:
        weights = weights * confidence.float()
    return weights / _or_one(weights.sum((1, 2), keepdim=True))


def cross_term(log_probs: Tensor, energies: Tensor, present: Tensor, valid: Tensor) -> Tensor:
    """Return the binary cross-entropy of the network's probability and the score, for the classes present (eq. 8).

    This is (1/|C|) sum over k in C of 1/2 BCE(P_k; G_k), averaged over the valid area, with gradients to both.

    Args:
        log_probs: `[B, K, h, w]`, log P.
        energies: `[B, K, h, w]`, -log G.
        present: bool `[B, K]`, the classes C.
        valid: `[B, h, w]`, share of each cell that lies in the image.

    Returns:
        `[B]`.
    """
    score = (-energies).exp()
    entropy = -score * log_probs - (1 - score) * _log_one_minus_exp(log_probs)
    return 0.5 * area_mean(_class_mean(entropy, present), valid)


def labelled_term(energies: Tensor, mass: Tensor, present: Tensor) -> Tensor:
    """Return the binary cross-entropy of scores and labels, averaged over the labelled pixels (eq. 9).

    Args:
        energies: `[B, K, h, w]`, -log G.
        mass: `[B, K, h, w]`, result of `label_mass`.
        present: bool `[B, K]`, classes with a labelled pixel.

    Returns:
        `[B]`.
    """
    total = mass.sum(1)
    entropy = mass * energies - (total[:, None] - mass) * _log_one_minus_exp(-energies)
    return 0.5 * _class_mean(entropy, present).sum((1, 2)) / _or_one(total.sum((1, 2)))


def repulsion(closeness: Tensor, present: Tensor, known: Tensor | None = None) -> Tensor:
    """Return the mean closeness of two different classes of an image, `[B]`.

    Args:
        closeness: `[B, K, K]`, symmetric.
        present: bool `[B, K]`, classes of the image.
        known: bool `[B, K]`, classes that these are compared with; those present when None.
    """
    known = present if known is None else known | present
    pairs = (present[:, :, None] & known[:, None]) | (known[:, :, None] & present[:, None])
    pairs = pairs.triu(1)
    return (closeness * pairs).sum((1, 2)) / _or_one(pairs.sum((1, 2)))


def tag_term(log_probs: Tensor, tags: Tensor, valid: Tensor) -> Tensor:
    """Return the sum over classes that an image does not hold of -log(1 - P), averaged over the valid area, `[B]`.

    Args:
        log_probs: `[B, K, h, w]`, log P.
        tags: bool `[B, K]`, classes that may occur.
        valid: `[B, h, w]`, as in `cross_term`.
    """
    excluded = (-_log_one_minus_exp(log_probs) * ~tags[..., None, None]).sum(1)
    return area_mean(excluded, valid)


def area_mean(values: Tensor, area: Tensor) -> Tensor:
    """Return the mean of `[B, h, w]` under the weights `[B, h, w]`, `[B]`."""
    return (values * area).sum((1, 2)) / _or_one(area.sum((1, 2)))


def balanced(labels: Tensor, weights: Tensor, num_classes: int, power: float) -> Tensor:
    """Return weights against the different areas of classes: area^-power of the class of each cell, `[B, h, w]`.

    Args:
        labels: int64 `[B, h, w]`, 0..K-1.
        weights: `[B, h, w]`, weights of the cells in the area, at least 0.
        num_classes: K.
        power: exponent; 0 gives weights of 1, and with 1 all classes of an image have the same total weight.
    """
    if not power:
        return torch.ones_like(weights)
    flat = labels.flatten(1)
    area = weights.new_zeros(len(labels), num_classes).scatter_add_(1, flat, weights.flatten(1))
    return _or_one(area).pow(-power).gather(1, flat).view_as(weights)


def _class_mean(values: Tensor, present: Tensor) -> Tensor:
    """Return the mean over the classes present: `[B, K, h, w]` and `[B, K]` to `[B, h, w]`."""
    return (values * present[..., None, None]).sum(1) / _or_one(present.sum(1))[:, None, None]


def _log_one_minus_exp(x: Tensor) -> Tensor:
    """Return log(1 - e^x) for x <= 0, at least log EPS; below EPS the gradient keeps the slope 1 / EPS."""
    rest = -torch.expm1(x)
    floor = rest.detach().clamp(min=EPS)
    return floor.log() + (rest - rest.detach()) / floor


def _or_one(total: Tensor) -> Tensor:
    """Return a divisor: the total, or 1 where it is 0."""
    return torch.where(total > 0, total, torch.ones_like(total))
