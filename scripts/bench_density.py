"""Densities and feature distances against the usual way to compute them: time, peak memory, equality of results.

    python scripts/bench_density.py [--quick] [--only NAME] [--json FILE] [--repeats N] [--threads N] [--cpu-time]

How it measures is described in `bench_core.py`. Peers that would take gigabytes run block by block; their names say so.
The error is the largest absolute difference; for log-densities of diagonal Gaussians that of ours to float64 on 2000
pixels, for Sinkhorn that of the probabilities to a loop in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from bench_core import Case, Row, farthest, run
from sklearn.mixture import GaussianMixture
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal
from torch.nn import functional as F

from gss.models.estimation import estimate, moments
from gss.models.gaussians import Gaussians, logsumexp_, quadratic_form, reduced_log_density
from gss.ood import FittedScores, ScoreInputs, build_score
from gss.training.density.memory import PixelMemory
from gss.training.density.sinkhorn import sinkhorn

C, M, D = 19, 5, 64
BLOCK = 4096


def mixture() -> Gaussians:
    return Gaussians(F.normalize(torch.randn(C * M, D), dim=1), 0.01 + torch.rand(C * M, D) / D)


def unit(count: int) -> Tensor:
    return F.normalize(torch.randn(count, D), dim=1)


def by_normal(x: Tensor, gaussians: Gaussians) -> Tensor:
    """Largest component of every class `[C, N]`."""
    normal = Independent(Normal(gaussians.means, gaussians.variances.sqrt(), validate_args=False), 1)
    return torch.cat([normal.log_prob(part[:, None]).view(-1, C, M).amax(2) for part in x.split(BLOCK)]).t()


def by_multivariate(x: Tensor, gaussians: Gaussians) -> Tensor:
    lower = torch.diag_embed(gaussians.variances.sqrt())
    normal = MultivariateNormal(gaussians.means, scale_tril=lower, validate_args=False)
    return torch.cat([normal.log_prob(part[:, None]).view(-1, C, M).amax(2) for part in x.split(BLOCK)]).t()


def by_sklearn(x: Tensor, gaussians: Gaussians) -> Tensor:
    """Log p(x | c): the components of a class summed, which is what `score_samples` gives."""
    scores = []
    for c in range(C):
        own = slice(c * M, (c + 1) * M)
        model = GaussianMixture(M, covariance_type="diag")
        model.weights_ = np.full(M, 1 / M)
        model.means_ = gaussians.means[own].double().numpy()
        model.covariances_ = gaussians.variances[own].double().numpy()
        model.precisions_cholesky_ = model.covariances_**-0.5
        scores.append(torch.from_numpy(model.score_samples(x.numpy())))
    return torch.stack(scores)


def evidence(
    pixels: int, peer: Callable[[Tensor, Gaussians], Tensor], *, summed: bool = False, share: int = 1
) -> Callable[[bool], Case]:
    """Largest component log-density of every class `[C, N]`, or the log of their mean; the peer's for a `share`-th."""

    def build(quick: bool) -> Case:
        x, gaussians = unit(pixels // 100 if quick else pixels), mixture()
        weights = torch.full((C * M,), -math.log(M) if summed else 0.0)

        def reduce(density: Tensor) -> Tensor:
            by_class = density.unflatten(0, (C, M))
            return logsumexp_(by_class, 1) if summed else by_class.amax(1)

        def error(found: Tensor, _: Tensor) -> float:
            exact = Normal(gaussians.means.double(), gaussians.variances.double().sqrt())
            expected = reduce(exact.log_prob(x[:2000, None].double()).sum(2).t() + weights[:, None])
            return float((found[:, :2000] - expected).abs().max())

        def ours() -> Tensor:
            return reduced_log_density(x, quadratic_form(gaussians).plus(weights), reduce)

        return Case(ours, lambda: peer(x[: len(x) // share], gaussians), error)

    return build


def best(pixels: int) -> Callable[[bool], Case]:
    """Score of a pixel: the largest log-density of all components; the classes are never written down."""

    def build(quick: bool) -> Case:
        x, gaussians = unit(pixels // 100 if quick else pixels), mixture()
        return Case(
            lambda: reduced_log_density(x, quadratic_form(gaussians), lambda density: density.amax(0)),
            lambda: by_normal(x, gaussians).amax(0),
            farthest,
        )

    return build


def assignment(quick: bool) -> Case:
    count = 2000 if quick else 73_728
    classes = torch.randint(0, C, (count,))
    scores = -59 + 6 * torch.randn(count, M)

    def loop(scores: Tensor) -> Tensor:
        out = torch.empty_like(scores)
        for c in classes.unique().tolist():
            q = scores[classes == c]
            q = (q / 3 - (q / 3).max()).exp()
            q = q / q.sum()
            for _ in range(3):
                q = q / q.sum(0, keepdim=True) / M
                q = q / q.sum(1, keepdim=True) / len(q)
            out[classes == c] = q * len(q)
        return out

    def error(found: Tensor, _: Tensor) -> float:
        return farthest(found.exp().double(), loop(scores.double()))

    return Case(lambda: sinkhorn(scores, classes, C, temperature=3.0), lambda: loop(scores), error)


def m_step(quick: bool) -> Case:
    """1900 new pixels into running statistics, against reducing a full memory again."""
    classes, component = torch.arange(1900) % C, torch.arange(1900) // C % M
    x, weights = unit(1900), F.one_hot(component, M)
    memory = PixelMemory(C * M, 200 if quick else 8000, D, torch.device("cpu"))
    memory.pixels.normal_()
    memory.fill.fill_(memory.pixels.shape[1])

    def ours() -> Gaussians:
        return estimate(moments(x, weights, classes, C), covariance="diagonal", variance_floor=0.01)

    def peer() -> Gaussians:
        return estimate(memory.moments(full=False), covariance="diagonal", variance_floor=0.01)

    return Case(ours, peer, None)


def score(name: str, tensors: dict[str, Tensor], peer: Callable[[Tensor], Tensor]) -> Callable[[bool], Case]:
    def build(quick: bool) -> Case:
        side = (16, 32) if quick else (256, 512)
        features = torch.randn(1, D, *side)
        inputs = ScoreInputs(torch.zeros(1, C, *side), features, (4 * side[0], 4 * side[1]))
        fitted = build_score(name, fitted=FittedScores.from_tensors({name: tensors}))
        rows = features.movedim(1, -1).reshape(-1, D)
        return Case(
            lambda: fitted.score(inputs).flatten(),
            lambda: torch.cat([peer(part) for part in rows.split(BLOCK)]),
            farthest,
        )

    return build


def mahalanobis(quick: bool) -> Case:
    whitening = torch.linalg.qr(torch.randn(D, D)).Q
    centres, precision = torch.randn(C, D), whitening @ whitening.t()
    means = centres @ torch.linalg.inv(whitening)

    def peer(part: Tensor) -> Tensor:
        difference = part[:, None] - means
        return torch.einsum("ncd,de,nce->nc", difference, precision, difference).amin(1)

    return score("mahalanobis", {"whitening": whitening, "centres": centres}, peer)(quick)


def neighbours(quick: bool) -> Case:
    bank = unit(500 if quick else 20_000)

    def peer(part: Tensor) -> Tensor:
        distance = torch.cdist(F.normalize(part, dim=1), bank)
        return distance.topk(3, largest=False).values.mean(1)

    return score("knn", {"bank": bank}, peer)(quick)


def low_rank(pixels: int) -> Callable[[bool], Case]:
    """Largest component of every class; covariances of a diagonal and four directions."""

    def build(quick: bool) -> Case:
        x, plain = unit(pixels // 100 if quick else pixels), mixture()
        factors = 0.1 * torch.randn(C * M, D, 4)
        gaussians = Gaussians(plain.means, plain.variances, factors)
        covariance = torch.diag_embed(gaussians.variances) + factors @ factors.transpose(1, 2)

        def ours() -> Tensor:
            form = quadratic_form(gaussians)
            return reduced_log_density(x, form, lambda density: density.unflatten(0, (C, M)).amax(1))

        def peer() -> Tensor:
            normal = MultivariateNormal(gaussians.means, covariance, validate_args=False)
            return torch.cat([normal.log_prob(part[:, None]).view(-1, C, M).amax(2) for part in x.split(BLOCK)]).t()

        return Case(ours, peer, farthest)

    return build


EVIDENCE = "class evidence C19 M5 D64, {} pixels".format
IN_BLOCKS = "4096 pixels at a time"

ROWS = [
    Row(EVIDENCE("131,072"), "GaussianMixture.score_samples by class", evidence(131_072, by_sklearn, summed=True)),
    Row(EVIDENCE("131,072"), f"Independent(Normal), {IN_BLOCKS}", evidence(131_072, by_normal)),
    Row(EVIDENCE("131,072"), f"MultivariateNormal, {IN_BLOCKS}", evidence(131_072, by_multivariate)),
    Row(
        EVIDENCE("2,097,152"),
        f"Independent(Normal) on the first 131,072, {IN_BLOCKS}",
        evidence(2_097_152, by_normal, share=16),
    ),
    Row("largest of all components, 131,072 pixels", f"Independent(Normal), {IN_BLOCKS}", best(131_072)),
    Row("low-rank class evidence, 131,072 pixels", f"MultivariateNormal, {IN_BLOCKS}", low_rank(131_072)),
    Row("Sinkhorn C19 M5, 73,728 pixels", "loop over classes", assignment),
    Row("M-step, 1900 pixels", "95 memories of 8000", m_step),
    Row("Mahalanobis, 131,072 pixels", f"einsum by class, {IN_BLOCKS}", mahalanobis),
    Row("3 nearest of 20,000, 131,072 pixels", f"cdist and topk, {IN_BLOCKS}", neighbours),
]

if __name__ == "__main__":
    run(ROWS, __doc__ or "")
