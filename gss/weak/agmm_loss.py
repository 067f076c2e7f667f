"""`AGMMLoss`: the mixture losses of a batch, conference version or online EM."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gss.config_agmm import AgmmConfig
from gss.mixture import full_precision
from gss.weak.agmm import (
    adaptive_variance,
    area_mean,
    class_means,
    cross_term,
    energy,
    labelled_term,
    mean_absolute_distance,
    mean_squared_distance,
    repulsion,
    tag_term,
    unit_features,
)
from gss.weak.online_em import ClassBank, Evidence, agreement_gate, expectation_maximisation, gather_evidence


class AGMMLoss(nn.Module):
    """What unlabelled pixels learn from an image's labelled pixels and tags.

    The cross-entropy of the labelled pixels is not part of it: it is the auxiliary head's own loss. A batch's
    loss is the mean of its images' losses, and each of those depends on its image (and, for `online`, on the bank as
    it was before the batch) alone. Memory is O(B K h w) and that of the features.

    Args:
        cfg: method and weights.
        num_classes: K.
        dim: channels D of the features.
    """

    def __init__(self, cfg: AgmmConfig, num_classes: int, dim: int) -> None:
        super().__init__()
        self.cfg, self.num_classes = cfg, num_classes
        if cfg.method == "online":
            self.bank = ClassBank(num_classes, dim, cfg.online.bank_decay)

    def forward(
        self,
        features: Tensor,
        logits: Tensor,
        labels: Tensor,
        *,
        progress: float,
        valid: Tensor | None = None,
        confidence: Tensor | None = None,
        tags: Tensor | None = None,
        exhaustive: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the loss; in training mode the online bank then takes the batch in.

        Args:
            features: `[B, D, h, w]`.
            logits: class logits `[B, K, h, w]`.
            labels: int64 `[B, H, W]` in 0..K-1, 255 where unlabelled.
            progress: share of the run that is over, 0..1; steers `online`.
            valid: bool `[B, H, W]`, False on padding.
            confidence: of each label `[B, H, W]`, 0..1; 1 for all when None.
            tags: classes of the whole images, bool `[B, K]`.
            exhaustive: whether tags name all classes, bool `[B]`; all do when None.

        Returns:
            The weighted sum with gradient, and its parts by name, unweighted and detached; with "agreement" (of
            pseudo-label and network, share of the valid area) for `online`.
        """
        with full_precision(features.device):
            grid = (features.shape[-2], features.shape[-1])
            evidence = gather_evidence(
                labels, self.num_classes, grid, valid=valid, confidence=confidence, tags=tags, exhaustive=exhaustive
            )
            log_probs = F.log_softmax(logits.float(), 1)
            terms = {"tag": tag_term(log_probs, evidence.allowed, evidence.valid)}
            total = self.cfg.tag * terms["tag"]
            if self.cfg.method == "conference":
                total = total + self._conference(features.float(), log_probs, evidence, terms)
            elif self.cfg.method == "online":
                total = total + self._online(features.float(), log_probs, evidence, terms, progress)
            return total.mean(), {name: value.detach().mean() for name, value in terms.items()}

    def _conference(self, features: Tensor, log_probs: Tensor, evidence: Evidence, terms: dict[str, Tensor]) -> Tensor:
        """Labelled centres, absolute distances, gradients everywhere but through the variance."""
        present = evidence.present
        means, _ = class_means(features, evidence.mass)
        squared = mean_absolute_distance(features, means).square()
        if self.cfg.conference.variance == "adaptive":
            belief = log_probs.detach().exp() * (evidence.valid[:, None] * evidence.allowed[..., None, None])
            energies = energy(squared, adaptive_variance(squared, belief))
        else:
            energies = squared
        apart = mean_absolute_distance(means.transpose(1, 2)[..., None], means)[..., 0]
        terms["cross"] = cross_term(log_probs, energies, present, evidence.valid)
        terms["labelled"] = labelled_term(energies, evidence.mass, present)
        terms["push"] = repulsion((-apart.square()).exp(), present)
        return self._weighted(terms, "cross", "labelled", "push")

    def _online(
        self, features: Tensor, log_probs: Tensor, evidence: Evidence, terms: dict[str, Tensor], progress: float
    ) -> Tensor:
        cfg = self.cfg.online
        trust = ramp_up(progress, cfg.warmup, cfg.ramp)
        found = expectation_maximisation(
            unit_features(features),
            log_probs,
            evidence,
            self.bank,
            mixture=cfg.mixture * min(1.0, progress / cfg.warmup) if cfg.warmup else cfg.mixture,
            unlabelled=cfg.unlabelled * trust,
            shrinkage=cfg.shrinkage,
        )
        gate, agree = agreement_gate(found.responsibility, log_probs, evidence)
        # Without any Gaussian, pseudo-labels would be the network's own word.
        gate = gate * found.known.any(1)[:, None, None]
        entropy = -(found.responsibility * log_probs).sum(1)
        described = found.responsibility * found.known[..., None, None]
        terms["cross"] = area_mean(gate * entropy, evidence.valid)
        terms["labelled"] = labelled_term(found.energies, evidence.mass, evidence.present)
        terms["pull"] = area_mean((described * found.energies).sum(1), evidence.valid)
        closeness = self._closeness(found.means, found.variances, found.known)
        terms["push"] = repulsion(closeness, evidence.present, found.known)
        terms["agreement"] = area_mean(agree.float(), evidence.valid)
        if self.training:
            self.bank.update(found, evidence.present)
        return trust * self._weighted(terms, "cross", "labelled", "pull", "push")

    @staticmethod
    def _closeness(means: Tensor, variances: Tensor, known: Tensor) -> Tensor:
        """exp(-d^2 / 2 s^2) of every two means `[B, K, K]`, s^2 the mean variance of the image's classes."""
        mean = (variances * known).sum(1) / known.sum(1).clamp(min=1)
        apart = mean_squared_distance(means.transpose(1, 2)[..., None], means)[..., 0]
        return (-apart / (2 * torch.where(mean > 0, mean, 1))[:, None, None]).exp()

    def _weighted(self, terms: dict[str, Tensor], *names: str) -> Tensor:
        return sum((getattr(self.cfg, name) * terms[name] for name in names), torch.zeros_like(terms["tag"]))


def ramp_up(progress: float, start: float, length: float) -> float:
    """0 before `start`, then the sigmoid-shaped exp(-5 (1 - t)^2) with t from 0 to 1 over `length`."""
    if progress < start:
        return 0.0
    t = min(1.0, (progress - start) / length) if length else 1.0
    return math.exp(-5 * (1 - t) ** 2)
