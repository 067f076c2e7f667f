"""Online expectation maximisation of per-image class Gaussians: pseudo-labels and mixture in closed form, every step.

One round per image and training step. The first M-step reads labels and the network's own probabilities, the E-step
pools mixture and network into responsibilities, the second M-step gives the mixture that the losses see. Nothing of
this is differentiated but the means, so pseudo-labels cannot be learned to be easy; labelled pixels keep their label in
both steps. Classes whose labelled pixels were cropped away, and images without any, borrow from a bank across images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gss import distributed
from gss.labels import IGNORE_INDEX
from gss.weak.agmm import adaptive_variance, class_means, energy, label_mass, mean_squared_distance

# Energy of a class that no Gaussian describes: that of a pixel one standard deviation away, which is the mean.
NEUTRAL_ENERGY = 0.5


@dataclass(frozen=True)
class Evidence:
    """What is known of a batch before the network is asked, on the grid of its features.

    Attributes:
        mass: `gss.weak.agmm.label_mass` `[B, K, h, w]`.
        certainty: how far a cell is decided by its labels `[B, h, w]`: their confidence, in full from the weight of
            one labelled pixel on.
        valid: share of each cell that lies in the image, not in padding `[B, h, w]`.
        allowed: classes the image may hold, bool `[B, K]`; at least one is.
        cell_pixels: pixels of the label map per cell.
    """

    mass: Tensor
    certainty: Tensor
    valid: Tensor
    allowed: Tensor
    cell_pixels: float

    @property
    def present(self) -> Tensor:
        """Classes with a labelled pixel, bool `[B, K]`."""
        return self.mass.flatten(2).any(2)

    def area(self, weights: Tensor) -> Tensor:
        """Pixels that `[B, K, h, w]` shares of cells amount to, without padding."""
        return weights * (self.valid * self.cell_pixels)[:, None]


def gather_evidence(
    labels: Tensor,
    num_classes: int,
    grid: tuple[int, int],
    *,
    valid: Tensor | None = None,
    confidence: Tensor | None = None,
    tags: Tensor | None = None,
    exhaustive: Tensor | None = None,
) -> Evidence:
    """Brings labels and tags onto a grid.

    Args:
        labels: int64 `[B, H, W]`, 255 where unlabelled.
        num_classes: K.
        grid: (h, w).
        valid: bool `[B, H, W]`, False on padding; everything is valid when None.
        confidence: of each label `[B, H, W]`, 0..1; 1 for all when None.
        tags: classes of each whole image, bool `[B, K]`.
        exhaustive: whether an image's tags are all its classes, bool `[B]`; True for all when None. Tags that are
            not, and empty ones, exclude nothing.
    """
    mass = label_mass(labels, num_classes, grid, confidence=confidence)
    count = total = mass.sum(1)
    if confidence is not None:
        count = label_mass(torch.where((labels >= 0) & (labels < num_classes), 0, IGNORE_INDEX), 1, grid)[:, 0]
    certainty = count.clamp(max=1) * total / torch.where(count > 0, count, 1)
    share = torch.ones_like(mass[:, 0])
    if valid is not None:
        share = F.interpolate(valid[:, None].to(mass.dtype), size=grid, mode="area")[:, 0]
    allowed = torch.ones_like(mass[:, :, 0, 0], dtype=torch.bool)
    if tags is not None:
        named = tags | mass.flatten(2).any(2)
        complete = named.any(1) if exhaustive is None else exhaustive & named.any(1)
        allowed = named | ~complete[:, None]
    pixels = labels.shape[1] * labels.shape[2] / (grid[0] * grid[1])
    return Evidence(mass, certainty, share, allowed, pixels)


@dataclass(frozen=True)
class Mixture:
    """Result of `expectation_maximisation`; gradients flow through `means` and `energies` alone.

    Attributes:
        responsibility: pseudo-label distribution `[B, K, h, w]`, sums to 1 over K.
        means: `[B, K, D]`, of unit features.
        variances: `[B, K]`.
        energies: -log of the class scores `[B, K, h, w]`.
        known: classes with a Gaussian, of this image or of the bank, bool `[B, K]`.
    """

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
) -> Mixture:
    """One round of EM on every image by itself.

    Args:
        features: unit features `[B, D, h, w]`.
        log_probs: the network's log P `[B, K, h, w]`.
        evidence: labels and tags.
        bank: read only.
        mixture: exponent of the mixture in the responsibilities; the network's probability has 1.
        unlabelled: weight of an unlabelled pixel against a labelled one in the means.
        shrinkage: pixels that the bank's variance of a class counts for, or the image's mean one.
    """
    present = evidence.present
    known = evidence.allowed & (present | bank.known)
    with torch.no_grad():
        detached, log_probs = features.detach(), log_probs.detach()
        means = _or_bank(class_means(detached, evidence.mass)[0], present, bank)
        squared = mean_squared_distance(detached, means)
        belief = seeded(pooled_posterior(log_probs, evidence.allowed, squared, known, mixture=0.0), evidence)
        energies = energy(squared, _variances(squared, belief, evidence, known, bank, shrinkage))
        pooled = pooled_posterior(log_probs, evidence.allowed, energies, known, mixture=mixture)
        responsibility = seeded(pooled, evidence)
        rest = evidence.area((1 - evidence.certainty)[:, None] * responsibility)
    means = _or_bank(class_means(features, evidence.mass + unlabelled * rest)[0], present, bank)
    squared = mean_squared_distance(features, means)
    variances = _variances(squared.detach(), responsibility, evidence, known, bank, shrinkage)
    return Mixture(responsibility, means, variances, energy(squared, variances), known)


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


def seeded(posterior: Tensor, evidence: Evidence) -> Tensor:
    """Labels where a cell has them, else the posterior, mixed by the certainty of the labels."""
    total, certainty = evidence.mass.sum(1, keepdim=True), evidence.certainty[:, None]
    seeds = evidence.mass / torch.where(total > 0, total, 1)
    return certainty * seeds + (1 - certainty) * posterior


def agreement_gate(responsibility: Tensor, log_probs: Tensor, evidence: Evidence) -> tuple[Tensor, Tensor]:
    """Weight of every pseudo-label `[B, h, w]`, and where network and pseudo-label agree (bool).

    The weight is the largest responsibility where both agree or labels decide, and 0 elsewhere.
    """
    confidence, pseudo = responsibility.max(1)
    agree = pseudo == log_probs.argmax(1)
    return confidence * (agree | (evidence.certainty >= 1)), agree


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
