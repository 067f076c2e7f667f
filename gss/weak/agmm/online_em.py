"""Online expectation maximisation of per-image class Gaussians: pseudo-labels and mixture in closed form, every step.

Each image gets one round per training step. The first M-step reads labels and the network's probabilities, the E-step
multiplies mixture and network into responsibilities, and the second M-step gives the mixture that the losses see. Only
the means are differentiated, so the network cannot make pseudo-labels easier; labelled pixels keep their label in both
steps. Classes whose labelled pixels were cropped away, and images without labels, use a bank across images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gss.core import distributed
from gss.weak.agmm.evidence import Evidence, seeded
from gss.weak.agmm.mixture import adaptive_variance, class_means, energy, mean_squared_distance

# Energy of a class without a Gaussian: that of a pixel at a distance of one standard deviation.
NEUTRAL_ENERGY = 0.5


@dataclass(frozen=True)
class Mixture:
    """Result of `expectation_maximisation`; only `means` and `energies` have gradients.

    Attributes:
        pseudo: `[B, K, h', w']`, distributions of the pseudo-labels, on the grid of the features or a finer one.
        responsibility: `[B, K, h, w]`, the same on the grid of the features.
        means: `[B, K, D]`, means of unit features.
        variances: `[B, K]`.
        energies: `[B, K, h, w]`, -log of the class scores.
        known: bool `[B, K]`, classes with a Gaussian of this image or of the bank.
    """

    pseudo: Tensor
    responsibility: Tensor
    means: Tensor
    variances: Tensor
    energies: Tensor
    known: Tensor


class ClassBank(nn.Module):
    """Running class means and variances over images (buffers, equal on all processes).

    Args:
        num_classes: K.
        dim: D.
        decay: decay of the averages, per update; the first updates of a class have equal weights.
    """

    means: Tensor
    variances: Tensor
    count: Tensor

    def __init__(self, num_classes: int, dim: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("means", torch.zeros(num_classes, dim))
        self.register_buffer("variances", torch.ones(num_classes))
        self.register_buffer("count", torch.zeros(num_classes, dtype=torch.long))

    @property
    def known(self) -> Tensor:
        """Classes seen so far, bool `[K]`."""
        return self.count > 0

    @torch.no_grad()
    def update(self, mixture: Mixture, present: Tensor) -> None:
        """Update the averages with the images of one batch, over all processes.

        Args:
            mixture: mixture of the batch.
            present: bool `[B, K]`, classes with labelled pixels; only these are updated.
        """
        weights = present.to(self.means.dtype)
        columns = [
            torch.einsum("bk,bkd->kd", weights, mixture.means),
            (weights * mixture.variances).sum(0)[:, None],
            weights.sum(0)[:, None],
        ]
        total = distributed.sum_across(torch.cat(columns, 1))
        means, (variances, seen) = total[:, :-2], total[:, -2:].unbind(1)
        # The first updates of a class are averaged evenly.
        fresh = torch.where(seen > 0, (1 / (self.count + 1)).clamp(min=1 - self.decay), 0)
        divisor = seen.clamp(min=1)
        self.means.lerp_(means / divisor[:, None], fresh[:, None])
        self.variances.lerp_(variances / divisor, fresh)
        self.count += seen > 0


def expectation_maximisation(
    features: Tensor,
    log_probs: Tensor,
    evidence: Evidence,
    bank: ClassBank,
    *,
    mixture: float,
    unlabelled: float,
    shrinkage: float,
    spread: Callable[[Tensor], Tensor] | None = None,
) -> Mixture:
    """Run one round of EM on every image by itself: `expectation`, then `maximisation`, on the same features.

    Args:
        features: `[B, D, h, w]`, unit features.
        log_probs: `[B, K, h, w]`, log P of the network.
        evidence: labels and tags.
        bank: class bank; not changed.
        mixture: exponent of the mixture in the responsibilities; that of the network's probability is 1.
        unlabelled: weight of an unlabelled pixel in the means; a labelled one has 1.
        shrinkage: weight of the bank's variance of a class, or else of the image's mean variance, in pixels.
        spread: function that spreads responsibilities `[B, K, h, w]` over the image, perhaps to a finer grid.
    """
    pseudo = expectation(features, log_probs, evidence, bank, mixture=mixture, shrinkage=shrinkage, spread=spread)
    return maximisation(features, pseudo, evidence, bank, unlabelled=unlabelled, shrinkage=shrinkage)


@torch.no_grad()
def expectation(
    features: Tensor,
    log_probs: Tensor,
    evidence: Evidence,
    bank: ClassBank,
    *,
    mixture: float,
    shrinkage: float,
    spread: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Return pseudo-labels: the product of the network's probabilities and of Gaussians around the labelled cells.

    Arguments are those of `expectation_maximisation`.

    Returns:
        Distributions `[B, K, h, w]`, or the result of `spread`.
    """
    present = evidence.present
    known = evidence.allowed & (present | bank.known)
    means = _or_bank(class_means(features, evidence.mass)[0], present, bank)
    squared = mean_squared_distance(features, means)
    belief = seeded(pooled_posterior(log_probs, evidence.allowed, squared, known, mixture=0.0), evidence)
    energies = energy(squared, _variances(squared, belief, evidence, known, bank, shrinkage))
    pooled = pooled_posterior(log_probs, evidence.allowed, energies, known, mixture=mixture)
    return seeded(pooled, evidence) if spread is None else spread(pooled)


def maximisation(
    features: Tensor, pseudo: Tensor, evidence: Evidence, bank: ClassBank, *, unlabelled: float, shrinkage: float
) -> Mixture:
    """Return the Gaussians of labels and pseudo-labels.

    Args:
        features: `[B, D, h, w]`, unit features.
        pseudo: `[B, K, h', w']`, result of `expectation`.
        evidence: labels and tags.
        bank: class bank; not changed.
        unlabelled: as in `expectation_maximisation`.
        shrinkage: as in `expectation_maximisation`.
    """
    present = evidence.present
    known = evidence.allowed & (present | bank.known)
    with torch.no_grad():
        responsibility = F.interpolate(pseudo, size=features.shape[-2:], mode="area")
        rest = evidence.area((1 - evidence.certainty)[:, None] * responsibility)
    means = _or_bank(class_means(features, evidence.mass + unlabelled * rest)[0], present, bank)
    squared = mean_squared_distance(features, means)
    variances = _variances(squared.detach(), responsibility, evidence, known, bank, shrinkage)
    return Mixture(pseudo, responsibility, means, variances, energy(squared, variances), known)


def pooled_posterior(log_probs: Tensor, allowed: Tensor, energies: Tensor, known: Tensor, *, mixture: float) -> Tensor:
    """Return the product P_k G_k^mixture over the allowed classes, normalised, `[B, K, h, w]`.

    The mixture has no class priors: P already holds how common classes are, and a second factor would count that twice.

    Args:
        log_probs: `[B, K, h, w]`, log P.
        allowed: bool `[B, K]`.
        energies: `[B, K, h, w]`, -log G.
        known: bool `[B, K]`, classes with a Gaussian; the others get `NEUTRAL_ENERGY`.
        mixture: exponent, at least 0.
    """
    logits = log_probs - mixture * energies.where(known[..., None, None], NEUTRAL_ENERGY)
    return logits.masked_fill(~allowed[..., None, None], -torch.inf).softmax(1)


def pseudo_weight(pseudo: Tensor, log_probs: Tensor, mass: Tensor, *, agreed: bool) -> tuple[Tensor, Tensor]:
    """Return the weight of every pseudo-label `[B, h, w]`, and where network and pseudo-label agree (bool).

    Args:
        pseudo: `[B, K, h, w]`, distributions of the pseudo-labels.
        log_probs: `[B, K, h, w]`, log P of the network on the same grid.
        mass: `[B, K, h, w]`, `Evidence.mass` on the same grid.
        agreed: True gives weight 0 to a pseudo-label that the network contradicts and no label in its cell supports.

    Returns:
        The largest probability of the pseudo-label, or 0, and the agreement.
    """
    confidence, label = pseudo.max(1)
    agree = label == log_probs.argmax(1)
    supported = mass.gather(1, label[:, None])[:, 0] > 0
    return confidence * (agree | supported) if agreed else confidence, agree


def _or_bank(means: Tensor, present: Tensor, bank: ClassBank) -> Tensor:
    return torch.where(present[..., None], means, bank.means.to(means.dtype))


@torch.no_grad()
def _variances(
    squared: Tensor, belief: Tensor, evidence: Evidence, known: Tensor, bank: ClassBank, shrinkage: float
) -> Tensor:
    """Return shrunk variances `[B, K]` under soft assignments `[B, K, h, w]`."""
    pixels = evidence.area(belief)
    described = pixels * known[..., None, None]
    total = described.sum((1, 2, 3))
    pooled = (described * squared).sum((1, 2, 3)) / torch.where(total > 0, total, 1)
    prior = torch.where(bank.known, bank.variances.to(squared.dtype), pooled[:, None])
    return adaptive_variance(squared, pixels, prior=prior, strength=shrinkage)
