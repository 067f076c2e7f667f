"""Losses of a tag classifier that learns from out-of-distribution images too.

After "Weakly Supervised Semantic Segmentation using Out-of-Distribution Data" (Lee et al., CVPR 2022): images that hold
none of the classes, but that the classifier takes for some, teach it the context that it mistakes for the object. The
total there is BCE(logits, tags) + 0.007 `distance_loss` + 0.25 `absent_loss`, the latter on images changed by `harden`.
All classes are treated alike here; the code of the paper makes an exception for one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from gss.core.errors import InputError


def distance_loss(
    features: Tensor,
    tags: Tensor,
    class_centres: Tensor,
    seen: Tensor,
    ood_centres: Tensor,
    *,
    share: float = 0.2,
    pull: float = 0.02,
) -> Tensor:
    """Return a loss that pulls tagged images to the centres of their classes and pushes them from the nearest clusters.

    It is the mean over tagged images of pull * sum over their classes k of |z - m_k| - 1/M * sum over near clusters m
    of |z - o_m|. Near are distances up to the `share` quantile of all distances between the tagged images of the batch
    and the clusters, as in the paper. An image close to many clusters is pushed by more of them, so images of a batch
    depend on each other through this threshold. Neither the number of classes nor of clusters changes the scale. With
    50 clusters it is the loss of the paper.

    Distances are not squared: each has a unit vector as its gradient, in the scale of the features. The push has no
    lower bound, so the weight of this loss must be small.

    Args:
        features: float `[B, D]`, pooled features z.
        tags: bool (or 0 and 1) `[B, K]`, classes of the images. Images without a tag are left out: whether they hold a
            class is not known.
        class_centres: `[K, D]`, centres m; neither kind of centres gets a gradient.
        seen: bool `[K]`, classes with a centre; the others pull nothing.
        ood_centres: `[M, D]`, centres o.
        share: share of the distances that are near, above 0 and at most 1; at least one distance is.
        pull: weight of the distance to class centres, at least 0. The default is 1 over the 50 clusters of the paper.

    Returns:
        Scalar float32, 0 without tagged images; gradients are finite also at distance 0.

    Raises:
        InputError: shapes that do not fit, no cluster, or share or pull out of range.
    """
    _check_shapes(features, tags, class_centres, seen, ood_centres)
    if not 0 < share <= 1:
        raise InputError(f"share is {share}; it must be above 0 and at most 1")
    if not pull >= 0:
        raise InputError(f"pull is {pull}; it must be at least 0")
    with torch.autocast(features.device.type, enabled=False):
        own = _distances(features, class_centres)
        away = _distances(features, ood_centres)
        tags = tags.bool()
        tagged = tags.any(1)
        # Untagged images are sorted last. The rank stays on the device: reading it would wait for the GPU.
        ordered = away.detach().masked_fill(~tagged[:, None], torch.inf).flatten().sort().values
        # The small difference keeps rounding from lifting 0.2 * 50 above 10.
        rank = (share * tagged.sum().double() * away.shape[1] - 1e-6).ceil().long().clamp(min=1) - 1
        near = tagged[:, None] & (away.detach() <= ordered[rank])
        images = tagged.sum().clamp(min=1)
        pulled = torch.where(tags & seen, own, 0).sum() / images
        pushed = torch.where(near, away, 0).sum() / (images * away.shape[1])
        return pull * pulled - pushed


def harden(images: Tensor, score: Callable[[Tensor], Tensor], *, step: float) -> Tensor:
    """Move each image one step towards a higher largest logit: x + step * g / max|g|, clamped to 0..1.

    The maximum is that of the gradient of the image; the code of the paper takes that of the batch. Gradients of
    parameters are not changed. Images do not depend on each other if their scores do not, that is with normalisation
    layers in evaluation mode; in training mode the call updates running statistics like any other.

    Args:
        images: `[B, 3, H, W]` in 0..1, not normalised; the classifier normalises them.
        score: function from images to logits `[B, K]`.
        step: largest change of a value, at least 0. The 0.07 of the paper's code is in units of ImageNet's standard
            deviations, about 0.016 here.

    Returns:
        `[B, 3, H, W]` in 0..1, without gradient. An image whose largest logit has gradient 0 stays as it is.

    Raises:
        InputError: a negative step, or images outside 0..1.
    """
    if not step >= 0:
        raise InputError(f"step is {step}; it must be at least 0")
    lowest, highest = (float(value) for value in images.detach().aminmax()) if images.numel() else (0.0, 1.0)
    # Resizing may leave the range by rounding.
    if not (lowest >= -1e-3 and highest <= 1 + 1e-3):
        raise InputError(f"images lie in {lowest:.3g}..{highest:.3g}; give them in 0..1, before normalisation")
    with torch.enable_grad():
        start = images.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(score(start).amax(1).sum(), start)
    largest = slope.abs().amax((1, 2, 3), keepdim=True)
    return (start.detach() + step * slope / largest.clamp(min=torch.finfo(slope.dtype).tiny)).clamp(0, 1)


def absent_loss(logits: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the binary cross-entropy against no class at all, averaged over classes and images.

    Args:
        logits: `[B, K]`, logits of images that hold none of the classes.
        weights: `[B]`, weights of the images, at least 0; 1 for all when None.

    Returns:
        Scalar float32; 0 without images, or when all weights are 0.

    Raises:
        InputError: shapes that do not fit.
    """
    if logits.ndim != 2 or (weights is not None and weights.shape != logits.shape[:1]):
        raise InputError(
            f"logits is {list(logits.shape)}, weights {None if weights is None else list(weights.shape)}; "
            "they must be [images, classes] and [images]"
        )
    each = F.softplus(logits.float()).mean(1)
    share = torch.ones_like(each) if weights is None else weights.to(each)
    total = share.sum()
    return (each * share).sum() / torch.where(total > 0, total, 1)


def _distances(features: Tensor, centres: Tensor) -> Tensor:
    """Return Euclidean distances `[B, M]` with a gradient of 0 at distance 0."""
    # Differences instead of products, in which small distances drown in rounding.
    return torch.cdist(features.float(), centres.detach().float(), compute_mode="donot_use_mm_for_euclid_dist")


def _check_shapes(features: Tensor, tags: Tensor, class_centres: Tensor, seen: Tensor, ood_centres: Tensor) -> None:
    if features.ndim != 2 or class_centres.ndim != 2 or ood_centres.ndim != 2 or len(ood_centres) == 0:
        raise InputError(
            f"features, class_centres and ood_centres are {list(features.shape)}, {list(class_centres.shape)} and "
            f"{list(ood_centres.shape)}; they must be [B, D], [K, D] and [M, D] with at least one cluster"
        )
    images, dim = features.shape
    if class_centres.shape[1] != dim or ood_centres.shape[1] != dim:
        raise InputError(
            f"features have {dim} channels, class_centres {class_centres.shape[1]} and ood_centres "
            f"{ood_centres.shape[1]}; fit centres to the features of this classifier"
        )
    classes = len(class_centres)
    if tags.shape != (images, classes) or seen.shape != (classes,):
        raise InputError(
            f"tags is {list(tags.shape)} and seen {list(seen.shape)}; {images} images and {classes} classes need "
            f"[{images}, {classes}] and [{classes}]"
        )
