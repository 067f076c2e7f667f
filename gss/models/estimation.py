"""Estimation of Gaussians from pixels: sufficient statistics, M-step, start values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gss.core.sampling import Smallest, smallest
from gss.models.gaussians import Gaussians

# Numbers in the largest temporary: 16 MB.
_BLOCK = 2**21


@dataclass(frozen=True)
class Moments:
    """Sufficient statistics of J Gaussians, float64; those of parts of the data add up.

    Attributes:
        count: total weight `[J]`.
        first: weighted sum of x `[J, D]`.
        second: weighted sum of x^2 `[J, D]`, or of x x^T `[J, D, D]` for low-rank covariances.
    """

    count: Tensor
    first: Tensor
    second: Tensor

    @staticmethod
    def zeros(groups: int, dim: int, *, full: bool, device: torch.device | None = None) -> Moments:
        """Return the statistics of no data."""
        second = (groups, dim, dim) if full else (groups, dim)
        shapes: tuple[tuple[int, ...], ...] = ((groups,), (groups, dim), second)
        return Moments(*(torch.zeros(shape, dtype=torch.float64, device=device) for shape in shapes))

    def map(self, fn: Callable[[Tensor], Tensor]) -> Moments:
        """Apply `fn` to each tensor."""
        return Moments(fn(self.count), fn(self.first), fn(self.second))

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.first + other.first, self.second + other.second)


def moments(x: Tensor, weights: Tensor, classes: Tensor, num_classes: int, *, full: bool = False) -> Moments:
    """Compute the statistics of rows with assignment probabilities to the components of their class.

    Args:
        x: float `[N, D]`.
        weights: `[N, M]` probabilities; a one-hot row assigns a pixel to one component.
        classes: int64 `[N]`, class of each row.
        num_classes: C.
        full: keep x x^T.

    Returns:
        Moments of C * M groups.
    """
    dim, components = x.shape[1], weights.shape[1]
    total = Moments.zeros(num_classes * components, dim, full=full, device=x.device)
    if full:
        for c in classes.unique().tolist():
            of_class = (classes == c).nonzero()[:, 0]
            own, share = x[of_class].double(), weights[of_class].double()
            for m in range(components):
                j = c * components + m
                weighted = own * share[:, m : m + 1]
                total.count[j] = share[:, m].sum()
                total.first[j] = weighted.sum(0)
                total.second[j] = weighted.t() @ own
        return total
    rows = max(1, _BLOCK // (num_classes * components))
    for own, share, c in zip(x.split(rows), weights.split(rows), classes.split(rows), strict=True):
        spread = torch.zeros(len(own), num_classes, components, dtype=torch.float64, device=x.device)
        spread.scatter_(1, c[:, None, None].expand(-1, 1, components), share.double()[:, None])
        spread = spread.flatten(1)
        own = own.double()
        total.count.add_(spread.sum(0))
        total.first.addmm_(spread.t(), own)
        total.second.addmm_(spread.t(), own.square())
    return total


def estimate(statistics: Moments, *, covariance: str, variance_floor: float, rank: int = 0) -> Gaussians:
    """Compute maximum-likelihood Gaussians of sufficient statistics (the M-step).

    Args:
        statistics: sums of J groups; one with a count of 0 gives a zero mean and the floor as variance.
        covariance: "diagonal", "spherical" or "low_rank"; the last needs full second moments.
        variance_floor: number added to every variance, which bounds and smooths it (GMMSeg: 0.01 for unit vectors of
            64 dimensions).
        rank: R of "low_rank", below D.

    Returns:
        Float32 Gaussians. For "low_rank" the factors are the leading principal axes beyond the mean of the remaining
        eigenvalues; the diagonal is set so that the variances of the whole equal those of the sample.
    """
    count = statistics.count.clamp(min=1e-300)[:, None]
    means = statistics.first / count
    if covariance != "low_rank":
        variances = (statistics.second / count - means.square()).clamp(min=0)
        if covariance == "spherical":
            variances = variances.mean(1, keepdim=True).expand_as(variances)
        return Gaussians(means.float(), (variances + variance_floor).float())
    scatter = statistics.second / count[..., None] - means[:, :, None] * means[:, None, :]
    values, vectors = torch.linalg.eigh(scatter)
    remaining = values[:, :-rank].clamp(min=0).mean(1, keepdim=True)
    excess = (values[:, -rank:] - remaining).clamp(min=0)
    factors = vectors[:, :, -rank:] * excess.sqrt()[:, None]
    diagonal = scatter.diagonal(dim1=1, dim2=2) - factors.square().sum(2)
    return Gaussians(means.float(), (diagonal.clamp(min=0) + variance_floor).float(), factors.float())


def seed_means(x: Tensor, count: int, keys: Tensor, *, smallest: Smallest = smallest) -> Tensor:
    """Draw start values by k-means++: each is far from those before with high probability.

    Every row has an exponentially distributed time with its squared distance as rate; the row with the least time is
    the next seed. The remaining times of the others are exponentially distributed again, so one random number per row
    suffices, and the seeds depend neither on the order of rows nor on the process that holds them.

    Args:
        x: `[N, D]`, rows to choose from.
        count: number of seeds wanted.
        keys: `[N]`, a random number in (0, 1) for each row, see `gss.core.sampling.random_keys`.
        smallest: `gss.core.sampling.smallest`, or `smallest_across` if the rows are spread over processes.

    Returns:
        `[count, D]`; less if there are fewer distinct rows.
    """
    left = -keys.double().log()
    rate = torch.ones_like(left)
    seeds = x.new_zeros(0, x.shape[1])
    for _ in range(count):
        time, row = smallest(left / rate, x, 1)
        if len(time) == 0 or not time.isfinite():
            break
        left = (left - time * rate).clamp(min=0)
        distance = (x - row).square().sum(1).double()
        # Differences of equal rows are exactly 0, those of distinct ones at least this in practice.
        distance = torch.where(distance > 1e-12, distance, 0)
        rate = distance if len(seeds) == 0 else torch.minimum(rate, distance)
        seeds = torch.cat([seeds, row])
    return seeds
