"""Losses of the residual pattern head: unchanged on what is known, uncertain on what is not.

RPL and CoroCL are from "Residual Pattern Learning for Pixel-wise Out-of-Distribution Detection in Semantic
Segmentation" (Liu et al., ICCV 2023). Every mean is over the pixels concerned, and 0 where there is none; nothing is
read back from a GPU.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gss.models.gaussians import full_precision
from gss.ood.entropy import entropy


def pseudo_label_loss(perturbed: Tensor, plain: Tensor, inlier: Tensor) -> Tensor:
    """Cross-entropy of the perturbed logits against the classes of the frozen ones, on inliers.

    Args:
        perturbed: `[B, K, h, w]`.
        plain: `[B, K, h, w]`.
        inlier: bool `[B, h, w]`.
    """
    loss = F.cross_entropy(perturbed.float(), plain.argmax(1), reduction="none")
    return masked_mean(loss, inlier)


def dissimilarity_loss(perturbed: Tensor, plain: Tensor, inlier: Tensor) -> Tensor:
    """Squared difference of the entropies in nats, on inliers; arguments as in `pseudo_label_loss`."""
    return masked_mean((entropy(perturbed) - entropy(plain)).square(), inlier)


def positive_energy_loss(perturbed: Tensor, outlier: Tensor, *, margin: float = 0.0) -> Tensor:
    """ReLU(margin - energy) on outliers, the energy being -logsumexp: pushed up to the margin and no further.

    Args:
        perturbed: `[B, K, h, w]`.
        outlier: bool `[B, h, w]`.
        margin: energy from which on an outlier costs nothing.
    """
    return masked_mean((perturbed.float().logsumexp(1) + margin).relu(), outlier)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the positions of a mask, 0 if it is empty."""
    return values.masked_fill(~mask, 0).sum() / mask.sum().clamp(min=1)


def draw(mask: Tensor, count: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Random positions of a mask, without replacement and without knowing how many there are.

    Args:
        mask: bool `[N]`.
        count: positions wanted, at most N.
        generator: source of randomness.

    Returns:
        int64 `[count]`, of which the first entries lie in the mask, and the number of those that do (a tensor).
    """
    keys = torch.rand(mask.shape, generator=generator, device=mask.device)
    return keys.masked_fill(~mask, -1).topk(count).indices, mask.sum().clamp(max=count)


def rows_at(maps: Tensor, index: Tensor, grid: tuple[int, int], cells: tuple[int, int]) -> Tensor:
    """Rows of `maps`, enlarged bilinearly to `grid`, at some cells; only these are computed.

    Args:
        maps: `[B, C, h', w']`.
        index: int64 `[N]`, positions in a flattened `[B, *cells]`.
        grid: (h, w) that `maps` covers.
        cells: (h, w) of its upper left part that `index` counts.

    Returns:
        `[N, C]`.
    """
    image, rest = index // (cells[0] * cells[1]), index % (cells[0] * cells[1])
    near, far, share = [], [], []
    for position, length, full in zip((rest // cells[1], rest % cells[1]), maps.shape[-2:], grid, strict=True):
        # Half-pixel centres, clamped at the border, as in F.interpolate.
        source = ((position + 0.5) * (length / full) - 0.5).clamp(0, length - 1)
        near.append(source.long())
        far.append((near[-1] + 1).clamp(max=length - 1))
        share.append((source - near[-1])[:, None].to(maps.dtype))
    table = maps.movedim(1, -1)
    above = torch.lerp(table[image, near[0], near[1]], table[image, near[0], far[1]], share[1])
    below = torch.lerp(table[image, far[0], near[1]], table[image, far[0], far[1]], share[1])
    return torch.lerp(above, below, share[0])


def context_contrast(embeddings: Tensor, count: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Context-robust contrast (CoroCL): outliers near outliers and far from inliers, whatever the scene.

    Anchors are the samples of the driving context; they are compared with all samples. Each pair of anchor and
    sample of the same kind competes with the samples of the other kind alone.

    Args:
        embeddings: unit vectors `[4, S, E]`: driving outliers, driving inliers, foreign outliers, foreign inliers.
        count: how many of each are valid, 0..S, the first ones.
        temperature: of the cosine similarities.

    Returns:
        Mean over valid anchors of the mean over their positives; 0 for a count of 0.
    """
    sets, samples, _ = embeddings.shape
    with full_precision(embeddings.device):
        x = embeddings.float().flatten(0, 1)
        similarity = x[: 2 * samples] @ x.t() / temperature
    place = torch.arange(sets * samples, device=x.device)
    valid, outlier = place % samples < count, place // samples % 2 == 0
    anchor = place[: 2 * samples]
    same = outlier[anchor][:, None] == outlier
    positive = same & valid & (anchor[:, None] != place)
    # Finite: logsumexp over nothing but -inf has no gradient.
    never = torch.finfo(similarity.dtype).min / 4
    negatives = similarity.masked_fill(same | ~valid, never).logsumexp(1, keepdim=True)
    # -log(exp s / (exp s + sum of exp of the negatives))
    loss = F.softplus(negatives - similarity).masked_fill(~positive, 0).sum(1)
    return masked_mean(loss / positive.sum(1).clamp(min=1), valid[anchor] & positive.any(1))
