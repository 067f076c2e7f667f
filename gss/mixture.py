"""Gaussian mixtures of classes as pure functions: log-density, assignment of pixels, estimation.

J Gaussians, in classification J = C * M: C classes of M components each, class-major. Covariances are diagonal, or
diagonal plus low rank, diag(v) + F F^T. Everything runs in float32 (moments in float64): the terms of a log-density
reach hundreds, of which TF32 and bf16 lose whole tenths.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

# Numbers in the largest temporary of a blocked reduction: 8 MB, which stays in the cache of a CPU.
BLOCK_NUMBERS = 2**21

Reduce = Callable[[Tensor], Tensor]


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Matrix products in true float32: neither autocast nor TF32, whatever the program has chosen."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@dataclass(frozen=True)
class Gaussians:
    """J Gaussians of D dimensions.

    Attributes:
        means: `[J, D]`.
        variances: diagonal of the covariance without the low-rank part, above 0, `[J, D]`.
        factors: low-rank part F `[J, D, R]` of the covariance diag(v) + F F^T; None without one.
    """

    means: Tensor
    variances: Tensor
    factors: Tensor | None = None


@dataclass(frozen=True)
class QuadraticForm:
    """log N_j(x) = q . y^2 + l . y + c - |P y - o|^2 / 2 with y = x - centre: two or three matrix products.

    Attributes:
        centre: `[D]`; subtracting it keeps the terms, hence the rounding errors, small.
        quadratic: `[D, J]`.
        linear: `[D, J]`.
        constant: `[J]`.
        projection: `[D, J * R]`; None without a low-rank part.
        offset: `[J * R]`.
    """

    centre: Tensor
    quadratic: Tensor
    linear: Tensor
    constant: Tensor
    projection: Tensor | None = None
    offset: Tensor | None = None

    @property
    def width(self) -> int:
        """Numbers a row of x expands to."""
        return max(len(self.constant), 0 if self.projection is None else self.projection.shape[1])


def quadratic_form(gaussians: Gaussians) -> QuadraticForm:
    """Prepares Gaussians for `log_density`; costs J * D (J * D * R^2 with a low-rank part)."""
    means, variances = gaussians.means.double(), gaussians.variances.double()
    centre = means.mean(0)
    means = means - centre
    precision = 1 / variances
    dim = means.shape[1]
    constant = -0.5 * (dim * math.log(2 * math.pi) + variances.log().sum(1) + (means.square() * precision).sum(1))
    projection = offset = None
    if gaussians.factors is not None:
        # Woodbury: (diag(v) + F F^T)^-1 = diag(1/v) - P^T P with P = L^-1 F^T diag(1/v), L L^T = I + F^T diag(1/v) F.
        factors = gaussians.factors.double()
        scaled = factors * precision[:, :, None]
        eye = torch.eye(factors.shape[2], dtype=factors.dtype, device=factors.device)
        lower = torch.linalg.cholesky(eye + factors.transpose(1, 2) @ scaled)
        rows = torch.linalg.solve_triangular(lower, scaled.transpose(1, 2), upper=False)  # P [J, R, D]
        constant = constant - lower.diagonal(dim1=1, dim2=2).log().sum(1)
        projection = rows.flatten(0, 1).t().float().contiguous()
        offset = (rows @ means[:, :, None]).flatten().float()
    return QuadraticForm(
        centre=centre.float(),
        quadratic=(-0.5 * precision).t().float().contiguous(),
        linear=(means * precision).t().float().contiguous(),
        constant=constant.float(),
        projection=projection,
        offset=offset,
    )


def log_density(x: Tensor, form: QuadraticForm) -> Tensor:
    """Log N_j(x_n) `[N, J]` of rows `[N, D]`, float32; differentiable in x."""
    with full_precision(x.device):
        y = x.float() - form.centre
        density = torch.addmm(form.constant, y, form.linear).addmm(y.square(), form.quadratic)
        if form.projection is not None and form.offset is not None:
            # The low-rank part explains a share of the distance: it is added back.
            explained = torch.addmm(-form.offset, y, form.projection).square()
            density = density + 0.5 * explained.view(len(x), len(form.constant), -1).sum(2)
        return density


def reduced_log_density(x: Tensor, form: QuadraticForm, reduce: Reduce) -> Tensor:
    """`reduce(log_density(x))`, block by block, so that no `[N, J]` tensor is ever held.

    Args:
        x: rows `[N, D]`.
        form: the mixture.
        reduce: maps `[n, J]` to `[n, ...]`.
    """
    rows = max(1, BLOCK_NUMBERS // form.width)
    if len(x) <= rows:
        return reduce(log_density(x, form))
    return torch.cat([reduce(log_density(part, form)) for part in x.split(rows)])


def own_class(density: Tensor, classes: Tensor) -> Tensor:
    """Densities `[N, M]` of the components of each row's class, out of `[N, C, M]`."""
    return density.gather(1, classes[:, None, None].expand(-1, 1, density.shape[2]))[:, 0]


def sinkhorn(
    scores: Tensor,
    classes: Tensor,
    num_classes: int,
    *,
    temperature: float = 1.0,
    relative: bool = False,
    iterations: int = 3,
    sum_across: Reduce = torch.clone,
    max_across: Reduce = torch.clone,
) -> Tensor:
    """Assigns the pixels of every class to its components so that all components get the same share.

    Entropic optimal transport by Sinkhorn and Knopp: in turn, the mass of every component becomes 1/M and that of
    every pixel 1/n, for all classes at once. In logarithms, hence nothing over- or underflows; otherwise the same
    numbers as a loop over classes. Few iterations do not converge: the result depends on the scale of each pixel's
    scores, and pixels must come first in the last step, as here.

    Args:
        scores: log-densities `[N, M]` of the components of each pixel's own class; -inf for one not in use.
        classes: int64 `[N]`.
        num_classes: C.
        temperature: nats per unit of entropy; with `relative` a share of the largest absolute score of the class
            (0.05 in GMMSeg), which makes it depend on the data.
        relative: see `temperature`.
        iterations: rounds.
        sum_across: sums over processes, if the pixels are spread over some.
        max_across: maximum over processes.

    Returns:
        Log assignment probabilities `[N, M]`; each row sums to 1 in probability.
    """
    if relative:
        magnitude = scores.abs().masked_fill(scores.isinf(), 0)
        largest = max_across(_class_max(magnitude, classes, num_classes)).amax(1)
        log_q = scores / (temperature * largest.clamp(min=1e-12)[classes, None])
    else:
        log_q = scores / temperature
    # A product with an indicator matrix, because atomic additions on a GPU are not reproducible.
    indicator = torch.nn.functional.one_hot(classes, num_classes).to(scores.dtype)
    for _ in range(iterations):
        top = max_across(_class_max(log_q, classes, num_classes))
        top = top.masked_fill(top.isinf(), 0)
        mass = sum_across(indicator.t() @ (log_q - top[classes]).exp())
        shift = torch.where(mass > 0, top + mass.clamp(min=torch.finfo(mass.dtype).tiny).log(), 0)
        log_q = (log_q - shift[classes]).log_softmax(1)
    return log_q


def _class_max(values: Tensor, classes: Tensor, num_classes: int) -> Tensor:
    """Largest value of every class `[C, M]`; -inf for classes without pixels."""
    start = values.new_full((num_classes, values.shape[1]), -math.inf)
    return start.scatter_reduce(0, classes[:, None].expand_as(values), values, "amax")


@dataclass(frozen=True)
class Moments:
    """Sufficient statistics of J Gaussians, float64; sums, so those of parts add up.

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
        """Statistics of nothing."""
        second = (groups, dim, dim) if full else (groups, dim)
        shapes: tuple[tuple[int, ...], ...] = ((groups,), (groups, dim), second)
        return Moments(*(torch.zeros(shape, dtype=torch.float64, device=device) for shape in shapes))

    def map(self, fn: Callable[[Tensor], Tensor]) -> Moments:
        """`fn` applied to each tensor."""
        return Moments(fn(self.count), fn(self.first), fn(self.second))

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.first + other.first, self.second + other.second)


def moments(x: Tensor, weights: Tensor, classes: Tensor, num_classes: int, *, full: bool = False) -> Moments:
    """Statistics of rows `[N, D]` with assignment probabilities `[N, M]` to the components of their class `[N]`.

    Args:
        x: float.
        weights: probabilities; a one-hot row assigns a pixel to one component.
        classes: int64 class of each row.
        num_classes: C.
        full: whether to keep x x^T.

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
    rows = max(1, BLOCK_NUMBERS // (num_classes * components))
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
    """M-step: maximum-likelihood Gaussians of sufficient statistics.

    Args:
        statistics: groups with a count of 0 give a zero mean and the floor as variance.
        covariance: "diagonal", "spherical" or "low_rank"; the last needs full second moments.
        variance_floor: added to every variance, which both bounds and smooths (GMMSeg: 0.01 for unit vectors of
            64 dimensions).
        rank: R of "low_rank", below D.

    Returns:
        Float32 Gaussians. For "low_rank" the factors are the leading principal axes of the covariance beyond its
        mean remaining variance, and the diagonal is what they leave of the variances: the diagonal of the whole is
        that of the sample.
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


def seed_means(x: Tensor, count: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Start values by k-means++: rows `[count, D]` of `[N, D]`, each far from those before with high probability.

    Fewer distinct rows than `count` give fewer seeds.

    Args:
        x: rows to choose from, at least one.
        count: seeds wanted.
        generator: random source on the CPU; the global one by default.
    """
    first = int(torch.randint(len(x), (1,), generator=generator))
    seeds = [x[first]]
    distance = (x - x[first]).square().sum(1)
    # Differences of equal rows are exactly 0, those of distinct ones at least this in practice.
    while len(seeds) < count and float(distance.max()) > 1e-12:
        cumulative = distance.double().cumsum(0)
        draw = torch.rand((), generator=generator, dtype=torch.float64).to(cumulative) * cumulative[-1]
        chosen = int(torch.searchsorted(cumulative, draw).clamp(max=len(x) - 1))
        seeds.append(x[chosen])
        distance = torch.minimum(distance, (x - x[chosen]).square().sum(1))
    return torch.stack(seeds)


def balanced_sample(classes: Tensor, per_class: int, num_classes: int) -> Tensor:
    """Indices `[n]` of at most `per_class` random entries of each class out of int64 `[N]`; others are left out.

    Draws from the global random source of the tensor's device. Entries outside 0..num_classes-1 (void) never come.
    """
    valid = ((classes >= 0) & (classes < num_classes)).nonzero()[:, 0]
    shuffled = valid[torch.randperm(len(valid), device=valid.device)]
    ordered, order = classes[shuffled].sort(stable=True)
    counts = torch.bincount(ordered, minlength=num_classes)
    starts = counts.cumsum(0) - counts
    rank = torch.arange(len(ordered), device=classes.device) - starts[ordered]
    return shuffled[order[rank < per_class]]
