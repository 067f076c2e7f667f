"""Fitting a density head to pixels of a frozen prior by expectation maximisation."""

from __future__ import annotations

import dataclasses
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

from gss.config.density import DensityConfig, MixtureConfig
from gss.core import distributed
from gss.models.density import GMMDensityHead
from gss.ood.survey import Survey
from gss.training.density.em import MixtureEM


def build_head(cfg: DensityConfig, *, num_classes: int, feature_dim: int) -> GMMDensityHead:
    """Return the head of a configuration, not fitted and no wider than the features."""
    outliers = cfg.outliers.components if cfg.outliers.spec else 0
    embed_dim = min(cfg.model.embed_dim, feature_dim)
    options = {**vars(cfg.model), "embed_dim": embed_dim, "rank": min(cfg.model.rank, (embed_dim or feature_dim) - 1)}
    return GMMDensityHead(num_classes=num_classes, feature_dim=feature_dim, outlier_components=outliers, **options)


def fit_mixture(
    cfg: DensityConfig, survey: Survey, *, class_names: list[str], device: torch.device
) -> tuple[GMMDensityHead, list[float]]:
    """Fit a head by EM to the sample of a survey.

    Args:
        cfg: settings of the stage; `model`, `em` and `posthoc` are read.
        survey: survey of all processes; each holds its part of the sample.
        class_names: names of the classes, for messages.
        device: device to compute on, and of the head.

    Returns:
        The head, and the mean log-likelihood log p(x | class of the pixel) in nats per pixel before each round.
    """
    head = build_head(cfg, num_classes=survey.num_classes, feature_dim=survey.dim).to(device).eval()
    if head.projection is not None:
        _decorrelate(head, survey)
    sample = survey.sample
    classes = sample["labels"].to(device)
    keep = torch.ones(len(classes), dtype=torch.bool, device=device)
    if cfg.posthoc.correct_only:
        correct = sample["correct"].to(device)
        right = distributed.sum_across(torch.bincount(classes[correct], minlength=survey.num_classes))
        # A class that the prior hardly ever gets right is described by all its pixels rather than by none.
        keep = correct | (right < 10 * head.num_components)[classes]
    classes, keys = classes[keep], sample["keys"].to(device)[keep]
    with torch.no_grad():
        x = head.embed(sample["features"].to(device)[keep].t()[None, :, None])[0, 0]
    _warn(distributed.sum_across(torch.bincount(classes, minlength=survey.num_classes)), head, class_names)
    history = run_em(head, x, classes, keys, cfg.em, iterations=cfg.posthoc.iterations, tolerance=cfg.posthoc.tolerance)
    return head, history


def run_em(
    head: GMMDensityHead,
    x: Tensor,
    classes: Tensor,
    keys: Tensor,
    cfg: MixtureConfig,
    *,
    iterations: int,
    tolerance: float,
) -> list[float]:
    """Run EM over the same pixels in every round, without memory.

    Args:
        head: head whose mixture is written; components not in use are seeded.
        x: embedded pixels of this process `[N, E]`.
        classes: class of each pixel, int64 `[N]`.
        keys: random number of each pixel `[N]`, see `gss.core.sampling`.
        cfg: settings of the E-step.
        iterations: largest number of rounds.
        tolerance: gain of the mean log-likelihood, in nats per pixel, below which the rounds end.

    Returns:
        Mean log p(x | class of the pixel) in nats before each round.
    """
    em = MixtureEM(head, dataclasses.replace(cfg, memory="ema", decay=0.0, interval=1)).to(x.device)
    em.seed(head, x, classes, keys)
    everything = torch.ones_like(classes, dtype=torch.bool)
    history: list[float] = []
    for _ in range(iterations):
        own = head.own_log_density(x, classes)  # [N, M]
        likelihood = (own + head.log_weights[classes]).logsumexp(1).double()
        total = distributed.sum_across(torch.stack([likelihood.sum(), likelihood.new_tensor(len(x))]))
        history.append(float(total[0] / total[1].clamp(min=1)))
        # The first rounds may lose: balancing moves pixels away from the components they fit best.
        if len(history) > 5 and history[-1] - max(history[:-1]) < tolerance:
            break
        em.update(head, x, classes, own, everything, keys)
    return history


@torch.no_grad()
def _decorrelate(head: GMMDensityHead, survey: Survey) -> None:
    """Set the projection to the principal directions of the sample, in standard deviations.

    Discriminant directions, in which the known classes differ most, would drop those in which the unknown differs.
    """
    assert head.projection is not None
    x = survey.sample["features"].double()
    if head.config["unit_input"]:
        x = F.normalize(x, dim=1)
    count = distributed.sum_across(torch.tensor(len(x), dtype=torch.float64))
    mean = distributed.sum_across(x.sum(0)) / count
    covariance = distributed.sum_across((x - mean).t() @ (x - mean)) / count
    values, directions = torch.linalg.eigh(covariance)
    # Directions without variance would be scaled up without end.
    deviation = values.clamp(min=1e-4 * values.mean()).sqrt()
    weight = (directions / deviation).flip(1)[:, : head.dim].t()
    head.projection.weight.copy_(weight)
    head.projection.bias.copy_(-(weight @ mean))


def _warn(pixels: Tensor, head: GMMDensityHead, class_names: list[str]) -> None:
    """Warn of classes with no pixel, or with fewer than components."""
    absent = [class_names[c] for c in (pixels == 0).nonzero()[:, 0].tolist()]
    few = [class_names[c] for c in ((pixels > 0) & (pixels < head.num_components)).nonzero()[:, 0].tolist()]
    if absent and distributed.is_main():
        warnings.warn(f"no training pixel shows {', '.join(absent)}: the mixture will never predict it", stacklevel=3)
    if few and distributed.is_main():
        warnings.warn(
            f"fewer pixels than the {head.num_components} components show {', '.join(few)}: it gets one component each",
            stacklevel=3,
        )
