"""`AGMMLoss`: the mixture losses of a batch, conference version or online EM."""

from __future__ import annotations

import math
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
        images: Tensor | None = None,
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
            images: RGB `[B, 3, H, W]` of any scale, needed for `online.spread.steps`.

        Returns:
            The weighted sum with gradient, and its parts by name, unweighted and detached; with "agreement" (of
            pseudo-label and network, share of the valid area) for `online`.
        """
        with full_precision(features.device):
            grid = (features.shape[-2], features.shape[-1])
            # Pseudo-labels that do not count yet need not spread.
            steps = self.cfg.online.spread.steps if self.trust(progress) > 0 else []
            if steps and images is None:
                raise InputError(
                    f"images is None, but online.spread.steps={steps} follows colours: give images, or set []"
                )
            shown = images if images is None or valid is None else images * valid[:, None]
            levels = [
                gather_evidence(
                    labels,
                    self.num_classes,
                    cells,
                    valid=valid,
                    confidence=confidence,
                    tags=tags,
                    exhaustive=exhaustive,
                )
                for cells in finer_grids(grid, max(len(steps), 1), (labels.shape[1], labels.shape[2]))
            ]
            evidence = levels[0]
            log_probs = F.log_softmax(logits.float(), 1)
            terms = {"tag": tag_term(log_probs, evidence.allowed, evidence.valid)}
            total = self.cfg.tag * terms["tag"]
            if self.cfg.method == "conference":
                total = total + self._conference(features.float(), log_probs, evidence, terms)
            elif self.cfg.method == "online":
                pseudo = self._pseudo_labels(features, log_probs, levels, progress, shown if steps else None)
                total = total + self._online(features.float(), logits.float(), pseudo, levels, terms, progress)
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

    def _pseudo_labels(
        self, features: Tensor, log_probs: Tensor, levels: list[Evidence], progress: float, images: Tensor | None
    ) -> Tensor:
        cfg = self.cfg.online
        return expectation(
            unit_features(features.float()),
            log_probs,
            levels[0],
            self.bank,
            mixture=cfg.mixture * min(1.0, progress / cfg.warmup) if cfg.warmup else cfg.mixture,
            shrinkage=cfg.shrinkage,
            spread=None if images is None else partial(self._spread, levels=levels, images=images),
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
        cfg, evidence = self.cfg.online, levels[0]
        trust = self.trust(progress)
        found = maximisation(
            unit_features(features),
            pseudo,
            evidence,
            self.bank,
            unlabelled=cfg.unlabelled * trust,
            shrinkage=cfg.shrinkage,
        )
        finest, size = levels[-1], pseudo.shape[-2:]
        fine = logits if size == logits.shape[-2:] else F.interpolate(logits, size=size, mode="bilinear")
        log_probs = fine.log_softmax(1)
        weight, agree = pseudo_weight(pseudo, log_probs, finest.mass, agreed=cfg.gate == "agreement")
        # Without any Gaussian, pseudo-labels would be the network's own word.
        weight = weight * found.known.any(1)[:, None, None]
        entropy = F.nll_loss(log_probs, pseudo.argmax(1), reduction="none")
        described = found.responsibility * found.known[..., None, None]
        terms["cross"] = area_mean(
            entropy,
            finest.valid * weight * balanced(pseudo.argmax(1), weight * finest.valid, self.num_classes, cfg.balance),
        )
        terms["labelled"] = labelled_term(found.energies, evidence.mass, evidence.present)
        terms["pull"] = area_mean((described * found.energies).sum(1), evidence.valid)
        closeness = self._closeness(found.means, found.variances, found.known)
        terms["push"] = repulsion(closeness, evidence.present, found.known)
        terms["agreement"] = area_mean(agree.float(), finest.valid)
        if self.training:
            self.bank.update(found, evidence.present)
        return trust * self._weighted(terms, "cross", "labelled", "pull", "push")

    def _spread(self, belief: Tensor, *, levels: list[Evidence], images: Tensor) -> Tensor:
        return spread(belief, levels, images, self.cfg.online.spread)

    def trust(self, progress: float) -> float:
        """How far the pseudo-labels of `online` count at a share of the run, 0..1; 0 for other methods."""
        online = self.cfg.online
        return ramp_up(progress, online.warmup, online.ramp) if self.cfg.method == "online" else 0.0

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
