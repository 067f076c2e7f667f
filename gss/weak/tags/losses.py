"""Losses of a tag classifier that learns from out-of-distribution images too.

After "Weakly Supervised Semantic Segmentation using Out-of-Distribution Data" (Lee et al., CVPR 2022): images that hold
none of the classes, but which the classifier takes for some, show it the context that it mistakes for the object. The
total there is BCE(logits, tags) + 0.007 `distance_loss` + 0.25 `absent_loss`, the latter on images made harder by
`harden`. No class is treated in a way of its own.
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
    """Pulls tagged images to the centres of their classes and pushes them away from the nearest clusters.

    The mean over the tagged images of pull * sum over own classes k of |z - m_k| - 1/M * sum over the nearest
    clusters m of |z - o_m|. Near are distances up to the `share` quantile of all distances between the batch's tagged
    images and the clusters, as in the paper: an image close to many clusters is pushed by more of them than another,
    so images of a batch depend on each other through this one threshold. A batch repeated has the same loss. Neither
    the number of classes nor that of clusters changes the scale. With 50 clusters it is the loss of the paper.

    Distances have the scale of the features and are not squared, so the gradient of each is a unit vector. Nothing
    bounds the push from below: keep the weight of this loss small.

    Args:
        features: pooled features z, float `[B, D]`.
        tags: classes of the images, bool (or 0 and 1) `[B, K]`. Images without a tag take no part: whether they hold
            a class is not known.
        class_centres: m `[K, D]`; no gradient flows to either kind of centres.
        seen: classes with a centre, bool `[K]`; the others pull nothing.
        ood_centres: o `[M, D]`.
        share: of distances that count as near, above 0 and at most 1; at least one does.
        pull: weight of the distance to own centres, at least 0. The default is 1 over the 50 clusters of the paper.

    Returns:
        Scalar float32 with gradients that are finite also at distance 0; 0 without any tagged image.

    Raises:
        ValueError: shapes that do not fit, no cluster, or share or pull out of range.
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
        # Untagged images sort behind all others. The rank stays on the device: reading it would stop the stream.
        ordered = away.detach().masked_fill(~tagged[:, None], torch.inf).flatten().sort().values
        # Less a little, so that rounding does not lift 0.2 * 50 above 10.
        rank = (share * tagged.sum().double() * away.shape[1] - 1e-6).ceil().long().clamp(min=1) - 1
        near = tagged[:, None] & (away.detach() <= ordered[rank])
        images = tagged.sum().clamp(min=1)
        pulled = torch.where(tags & seen, own, 0).sum() / images
        pushed = torch.where(near, away, 0).sum() / (images * away.shape[1])
        return pull * pulled - pushed


def harden(images: Tensor, score: Callable[[Tensor], Tensor], *, step: float) -> Tensor:
    """One step of each image towards a higher largest logit: x + step * g / max|g|, clamped to 0..1.

    The maximum is that of the image's own gradient; the paper's code takes that of the batch.
    Gradients are taken with respect to the images alone: parameters keep theirs as they are. Images do not depend on
    each other if their scores do not, which asks for normalisation layers in evaluation mode; in training mode the call
    moves running statistics like any other.

    Args:
        images: `[B, 3, H, W]` in 0..1, not normalised; the classifier normalises inside.
        score: images to logits `[B, K]`.
        step: largest change of a value, at least 0. The 0.07 of the paper's code is in units of ImageNet's standard
            deviations, about 0.016 here.

    Returns:
        Images of the same shape in 0..1, without gradient. An image whose largest logit has no slope stays as it is.

    Raises:
        ValueError: a negative step, or images outside 0..1.
    """
    if not step >= 0:
        raise InputError(f"step is {step}; it must be at least 0")
    lowest, highest = (float(value) for value in images.detach().aminmax()) if images.numel() else (0.0, 1.0)
    # Resizing may go past the range by rounding.
    if not (lowest >= -1e-3 and highest <= 1 + 1e-3):
        raise InputError(f"images lie in {lowest:.3g}..{highest:.3g}; give them in 0..1, before normalisation")
    with torch.enable_grad():
        start = images.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(score(start).amax(1).sum(), start)
    largest = slope.abs().amax((1, 2, 3), keepdim=True)
    return (start.detach() + step * slope / largest.clamp(min=torch.finfo(slope.dtype).tiny)).clamp(0, 1)


def absent_loss(logits: Tensor, weights: Tensor | None = None) -> Tensor:
    """Binary cross-entropy against no class at all, averaged over classes and images.

    Args:
        logits: of images that hold none of the classes `[B, K]`.
        weights: how sure that is of each image `[B]`, at least 0; 1 for all when None.

    Returns:
        Scalar float32; 0 without images, or when all weights are 0.

    Raises:
        ValueError: shapes that do not fit.
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
    """Euclidean distances `[B, M]` with a gradient of 0 at distance 0."""
    # By differences, not by products, which would make noise of small distances.
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
