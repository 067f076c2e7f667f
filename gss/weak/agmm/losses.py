"""`AGMMLoss`: the mixture losses of a batch, conference version or online EM."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gss.config.agmm import AgmmConfig
from gss.core.errors import InputError
from gss.models.gaussians import full_precision
from gss.weak.agmm.evidence import Evidence, gather_evidence
from gss.weak.agmm.mixture import (
    adaptive_variance,
    area_mean,
    balanced,
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
from gss.weak.agmm.online_em import ClassBank, expectation, maximisation, pseudo_weight
from gss.weak.agmm.spread import finer_grids, spread


class AGMMLoss(nn.Module):
    """Loss of the unlabelled pixels of an image, from its labelled pixels and tags.

    The cross-entropy of the labelled pixels is the loss of the auxiliary head and not part of it. The loss of a batch
    is the mean over its images. The loss of an image depends on that image alone and, for `online`, on the bank before
    the batch. Memory is O(B K h w) beside the features.

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
        images: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss; in training mode then update the online bank with the batch.

        Args:
            features: `[B, D, h, w]`.
            logits: `[B, K, h, w]`, class logits.
            labels: int64 `[B, H, W]` in 0..K-1, 255 where unlabelled.
            progress: share of the training steps done, 0..1; controls warm-up and ramp of `online`.
            valid: bool `[B, H, W]`, False on padding.
            confidence: `[B, H, W]` in 0..1, confidence of each label; 1 for all when None.
            tags: bool `[B, K]`, classes of the whole images.
            exhaustive: bool `[B]`, True where the tags are all classes of an image; True for all when None.
            images: `[B, 3, H, W]`, RGB of any scale, needed for `online.spread.steps`.

        Returns:
            The weighted sum with gradient, and its parts by name, unweighted and detached. For `online` these include
            "agreement", the share of the valid area where network and pseudo-label have the same class.
        """
        # During the warm-up pseudo-labels have no weight and need not spread.
        steps = self.cfg.online.spread.steps if self.ramp(progress) > 0 else []
        if steps and images is None:
            raise InputError(f"online.spread.steps={steps} follows colours: pass images, or set it to []")
        grid, size = (features.shape[-2], features.shape[-1]), (labels.shape[1], labels.shape[2])
        known = {"valid": valid, "confidence": confidence, "tags": tags, "exhaustive": exhaustive}
        with full_precision(features.device):
            levels = [
                gather_evidence(labels, self.num_classes, cells, **known)
                for cells in finer_grids(grid, max(len(steps), 1), size)
            ]
            evidence = levels[0]  # on the grid of the features
            log_probs = F.log_softmax(logits.float(), 1)
            terms = {"tag": tag_term(log_probs, evidence.allowed, evidence.valid)}
            total = self.cfg.tag * terms["tag"]
            if self.cfg.method == "conference":
                total = total + self._conference(features.float(), log_probs, evidence, terms)
            elif self.cfg.method == "online":
                walk = None
                if steps and images is not None:
                    visible = images if valid is None else images * valid[:, None]
                    walk = partial(spread, levels=levels, images=visible, cfg=self.cfg.online.spread)
                pseudo = self._pseudo_labels(features, log_probs, evidence, progress, walk)
                total = total + self._online(features.float(), logits.float(), pseudo, levels, terms, progress)
            return total.mean(), {name: value.detach().mean() for name, value in terms.items()}

    def _conference(self, features: Tensor, log_probs: Tensor, evidence: Evidence, terms: dict[str, Tensor]) -> Tensor:
        """Return the loss of the conference version: centres of labelled pixels, absolute distances."""
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

    def _pseudo_labels(
        self,
        features: Tensor,
        log_probs: Tensor,
        evidence: Evidence,
        progress: float,
        walk: Callable[[Tensor], Tensor] | None,
    ) -> Tensor:
        """Return the distributions of the pseudo-labels `[B, K, h', w']`, on the finest grid of `walk`."""
        cfg = self.cfg.online
        return expectation(
            unit_features(features.float()),
            log_probs,
            evidence,
            self.bank,
            mixture=cfg.mixture * min(1.0, progress / cfg.warmup) if cfg.warmup else cfg.mixture,
            shrinkage=cfg.shrinkage,
            spread=walk,
        )

    def _online(
        self,
        features: Tensor,
        logits: Tensor,
        pseudo: Tensor,
        levels: list[Evidence],
        terms: dict[str, Tensor],
        progress: float,
    ) -> Tensor:
        """Return the loss of online EM, and update the bank in training mode."""
        cfg, evidence = self.cfg.online, levels[0]
        ramp = self.ramp(progress)
        mixture = maximisation(
            unit_features(features),
            pseudo,
            evidence,
            self.bank,
            unlabelled=cfg.unlabelled * ramp,
            shrinkage=cfg.shrinkage,
        )
        finest, size = levels[-1], pseudo.shape[-2:]
        fine = logits if size == logits.shape[-2:] else F.interpolate(logits, size=size, mode="bilinear")
        log_probs = fine.log_softmax(1)
        weight, agree = pseudo_weight(pseudo, log_probs, finest.mass, agreed=cfg.gate == "agreement")
        # Without any Gaussian, pseudo-labels would only repeat the network.
        weight = weight * mixture.known.any(1)[:, None, None]
        entropy = F.nll_loss(log_probs, pseudo.argmax(1), reduction="none")
        described = mixture.responsibility * mixture.known[..., None, None]
        terms["cross"] = area_mean(
            entropy,
            finest.valid * weight * balanced(pseudo.argmax(1), weight * finest.valid, self.num_classes, cfg.balance),
        )
        terms["labelled"] = labelled_term(mixture.energies, evidence.mass, evidence.present)
        terms["pull"] = area_mean((described * mixture.energies).sum(1), evidence.valid)
        closeness = self._closeness(mixture.means, mixture.variances, mixture.known)
        terms["push"] = repulsion(closeness, evidence.present, mixture.known)
        terms["agreement"] = area_mean(agree.float(), finest.valid)
        if self.training:
            self.bank.update(mixture, evidence.present)
        return ramp * self._weighted(terms, "cross", "labelled", "pull", "push")

    def ramp(self, progress: float) -> float:
        """Return the weight of the pseudo-labels of `online` at a share of the run, 0..1; 0 for other methods."""
        online = self.cfg.online
        return ramp_up(progress, online.warmup, online.ramp) if self.cfg.method == "online" else 0.0

    @staticmethod
    def _closeness(means: Tensor, variances: Tensor, known: Tensor) -> Tensor:
        """Return exp(-d^2 / 2 s^2) of every two means, `[B, K, K]`; s^2 is the mean variance of the image's classes."""
        mean = (variances * known).sum(1) / known.sum(1).clamp(min=1)
        apart = mean_squared_distance(means.transpose(1, 2)[..., None], means)[..., 0]
        return (-apart / (2 * torch.where(mean > 0, mean, 1))[:, None, None]).exp()

    def _weighted(self, terms: dict[str, Tensor], *names: str) -> Tensor:
        return sum((getattr(self.cfg, name) * terms[name] for name in names), torch.zeros_like(terms["tag"]))


def ramp_up(progress: float, start: float, length: float) -> float:
    """Return 0 before `start`, then the sigmoid-shaped exp(-5 (1 - t)^2) with t from 0 to 1 over `length`."""
    if progress < start:
        return 0.0
    t = min(1.0, (progress - start) / length) if length else 1.0
    return math.exp(-5 * (1 - t) ** 2)
