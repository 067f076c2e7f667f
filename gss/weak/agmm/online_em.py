"""Online expectation maximisation of per-image class Gaussians: pseudo-labels and mixture in closed form, every step.

One round per image and training step. The first M-step reads labels and the network's own probabilities, the E-step
pools mixture and network into responsibilities, the second M-step gives the mixture that the losses see. Nothing of
this is differentiated but the means, so pseudo-labels cannot be learned to be easy; labelled pixels keep their label in
both steps. Classes whose labelled pixels were cropped away, and images without any, borrow from a bank across images.
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

# Energy of a class that no Gaussian describes: that of a pixel one standard deviation away, which is the mean.
NEUTRAL_ENERGY = 0.5


@dataclass(frozen=True)
class Mixture:
    """Result of `expectation_maximisation`; gradients flow through `means` and `energies` alone.

    Attributes:
        pseudo: pseudo-label distribution `[B, K, h', w']`, on the grid of the features or a finer one.
        responsibility: the same on the grid of the features `[B, K, h, w]`.
        means: `[B, K, D]`, of unit features.
        variances: `[B, K]`.
        energies: -log of the class scores `[B, K, h, w]`.
        known: classes with a Gaussian, of this image or of the bank, bool `[B, K]`.
    """

    pseudo: Tensor
    responsibility: Tensor
    means: Tensor
    variances: Tensor
    energies: Tensor
    known: Tensor


class ClassBank(nn.Module):
    """Class means and variances, averaged over the images seen (buffers, equal on all processes).

    Args:
        num_classes: K.
        dim: D.
        decay: of the averages, per update; the first updates of a class are averaged evenly.
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
        """Takes in the images of one batch, over all processes.

        Args:
            mixture: of the batch.
            present: classes with labelled pixels, bool `[B, K]`: only their means are news.
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
    """One round of EM on every image by itself: `expectation`, then `maximisation`, of the same features.

    Args:
        features: unit features `[B, D, h, w]`.
        log_probs: the network's log P `[B, K, h, w]`.
        evidence: labels and tags.
        bank: read only.
        mixture: exponent of the mixture in the responsibilities; the network's probability has 1.
        unlabelled: weight of an unlabelled pixel against a labelled one in the means.
        shrinkage: pixels that the bank's variance of a class counts for, or the image's mean one.
        spread: lets responsibilities `[B, K, h, w]` spread over the image; the result may be on a finer grid.
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
    """Pseudo-labels: the network's word and that of Gaussians around the labelled cells, pooled.

    Arguments are those of `expectation_maximisation`.

    Returns:
        Distributions `[B, K, h, w]`, or what `spread` makes of them.
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
    """The Gaussians of labels and pseudo-labels.

    Args:
        features: unit features `[B, D, h, w]`.
        pseudo: distributions `[B, K, h', w']` of `expectation`.
        evidence: labels and tags.
        bank: read only.
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
    """Product P_k G_k^mixture over the allowed classes, normalised, `[B, K, h, w]`.

    P alone says how common classes are; shares of the mixture would count that twice, against rare classes.

    Args:
        log_probs: log P `[B, K, h, w]`.
        allowed: bool `[B, K]`.
        energies: -log G `[B, K, h, w]`.
        known: classes with a Gaussian, bool `[B, K]`; the others get `NEUTRAL_ENERGY`.
        mixture: exponent, at least 0.
    """
    logits = log_probs - mixture * energies.where(known[..., None, None], NEUTRAL_ENERGY)
    return logits.masked_fill(~allowed[..., None, None], -torch.inf).softmax(1)


def pseudo_weight(pseudo: Tensor, log_probs: Tensor, mass: Tensor, *, agreed: bool) -> tuple[Tensor, Tensor]:
    """Weight of every pseudo-label `[B, h, w]`, and where network and pseudo-label agree (bool).

    Args:
        pseudo: distributions `[B, K, h, w]`.
        log_probs: the network's, on the same grid.
        mass: `Evidence.mass` on the same grid.
        agreed: whether a pseudo-label that the network contradicts, and that no label in its cell supports, weighs
            nothing.

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
    """Shrunk variances `[B, K]` under soft assignments `[B, K, h, w]`."""
    pixels = evidence.area(belief)
    described = pixels * known[..., None, None]
    total = described.sum((1, 2, 3))
    pooled = (described * squared).sum((1, 2, 3)) / torch.where(total > 0, total, 1)
    prior = torch.where(bank.known, bank.variances.to(squared.dtype), pooled[:, None])
    return adaptive_variance(squared, pixels, prior=prior, strength=shrinkage)
