"""Densities and feature distances against the usual way to compute them: time, peak memory, equality of results.

    python scripts/bench_density.py [--quick] [--only NAME] [--json FILE] [--repeats N] [--threads N]

How it measures is described in `bench_core.py`. Peers that would not fit into memory run in blocks of 4096 pixels.
The error is the largest absolute difference; for log-densities that of ours to float64 on 2000 pixels, for Sinkhorn the
share of pixels that another component gets.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from bench_core import Case, Row, differing, farthest, run
from sklearn.mixture import GaussianMixture
from torch import Tensor
from torch.nn import functional as F

from gss.mixture import Gaussians, estimate, log_density, moments, quadratic_form, reduced_log_density, sinkhorn
from gss.ood import FittedScores, ScoreInputs, build_score
from gss.training.mixture_em import PixelMemory

C, M, D = 19, 5, 64
BLOCK = 4096


def mixture() -> Gaussians:
    return Gaussians(F.normalize(torch.randn(C * M, D), dim=1), 0.01 + torch.rand(C * M, D) / D)


def unit(count: int) -> Tensor:
    return F.normalize(torch.randn(count, D), dim=1)


def density(pixels: int, peer_name: str) -> Callable[[bool], Case]:
    """Largest component log-density of every class."""

    def build(quick: bool) -> Case:
        x, gaussians = unit(pixels // 100 if quick else pixels), mixture()

        def ours() -> Tensor:
            form = quadratic_form(gaussians)
            return reduced_log_density(x, form, lambda d: d.view(-1, C, M).amax(2))

        def by_torch() -> Tensor:
            normal = torch.distributions.Independent(
                torch.distributions.Normal(gaussians.means, gaussians.variances.sqrt(), validate_args=False), 1
            )
            parts = [normal.log_prob(part[:, None]).view(-1, C, M).amax(2) for part in x.split(BLOCK)]
            return torch.cat(parts)

        def by_sklearn() -> Tensor:
            """Marginal instead of largest component: that is what `score_samples` gives."""
            scores = []
            for c in range(C):
                own = slice(c * M, (c + 1) * M)
                model = GaussianMixture(M, covariance_type="diag")
                model.weights_ = np.full(M, 1 / M)
                model.means_ = gaussians.means[own].double().numpy()
                model.covariances_ = gaussians.variances[own].double().numpy()
                model.precisions_cholesky_ = model.covariances_**-0.5
                scores.append(torch.from_numpy(model.score_samples(x.numpy())))
            return torch.stack(scores, 1)

        def error(found: Tensor, _: Tensor) -> float:
            exact = torch.distributions.Normal(gaussians.means.double(), gaussians.variances.double().sqrt())
            expected = exact.log_prob(x[:2000, None].double()).sum(2).view(-1, C, M).amax(2)
            return float((found[:2000] - expected).abs().max())

        return Case(ours, by_torch if peer_name == "torch" else by_sklearn, error)

    return build


def assignment(quick: bool) -> Case:
    count = 2000 if quick else 73_728
    classes = torch.randint(0, C, (count,))
    scores = -59 + 6 * torch.randn(count, M)

    def peer() -> Tensor:
        out = torch.empty_like(scores)
        for c in classes.unique().tolist():
            q = scores[classes == c]
            q = (q / 3 - (q / 3).max()).exp()
            q = q / q.sum()
            for _ in range(3):
                q = q / q.sum(0, keepdim=True) / M
                q = q / q.sum(1, keepdim=True) / len(q)
            out[classes == c] = q
        return out.argmax(1)

    return Case(lambda: sinkhorn(scores, classes, C, temperature=3.0).argmax(1), peer, differing)


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
        distance = torch.cdist(F.normalize(part, dim=1), bank, compute_mode="donot_use_mm_for_euclid_dist")
        return distance.topk(3, largest=False).values.mean(1)

    return score("knn", {"bank": bank}, peer)(quick)


def low_rank(quick: bool) -> Case:
    x, plain = unit(500 if quick else 8192), mixture()
    gaussians = Gaussians(plain.means, plain.variances, 0.1 * torch.randn(C * M, D, 4))
    covariance = torch.diag_embed(gaussians.variances) + gaussians.factors @ gaussians.factors.transpose(1, 2)
    normal = torch.distributions.MultivariateNormal(gaussians.means, covariance)
    return Case(
        lambda: log_density(x, quadratic_form(gaussians)),
        lambda: torch.cat([normal.log_prob(part[:, None]) for part in x.split(512)]),
        farthest,
    )


ROWS = [
    Row("log-density C19 M5 D64, 131,072 pixels", "torch.distributions", density(131_072, "torch")),
    Row("log-density C19 M5 D64, 2,097,152 pixels", "torch.distributions", density(2_097_152, "torch")),
    Row("log-density C19 M5 D64, 131,072 pixels, sklearn", "GaussianMixture by class", density(131_072, "sklearn")),
    Row("low-rank log-density, 8192 pixels", "MultivariateNormal", low_rank),
    Row("Sinkhorn C19 M5, 73,728 pixels", "loop over classes", assignment),
    Row("M-step, 1900 pixels", "95 memories of 8000", m_step),
    Row("Mahalanobis, 131,072 pixels", "einsum by class", mahalanobis),
    Row("3 nearest of 20,000, 131,072 pixels", "cdist", neighbours),
]

if __name__ == "__main__":
    run(ROWS, __doc__ or "")
