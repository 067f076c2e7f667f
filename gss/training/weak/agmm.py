"""Stage `weak-agmm`: a discriminative pixel classifier from partial masks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from gss.config.prior import PriorConfig, PriorLossConfig
from gss.config.weak_agmm import WeakAgmmConfig
from gss.core import distributed
from gss.data.open import build_dataset
from gss.data.protocols import LabelledImages
from gss.evaluation.checks import check_classes
from gss.models.prior import GSSPriorOutput
from gss.posterior.bundle import Posterior
from gss.training.engine.loop import fit
from gss.training.prior.task import PriorTask
from gss.weak.agmm.mixture import image_weights
from gss.weak.trust import check_seeds


class WeakAgmmTask(PriorTask):
    """The discriminative twin under partial cross-entropy and AGMM losses.

    What is exported are the last weights, or their average (`train.ema_decay`): no pixel truth chooses them.

    Args:
        cfg: the run's configuration.
        train: unaugmented training images.
        val: validation images at their original size; None goes without validation, and pictures show training
            images with their partial masks.
    """

    def __init__(self, cfg: WeakAgmmConfig, train: LabelledImages, val: LabelledImages | None) -> None:
        twin = PriorConfig(
            data=cfg.data,
            optim=cfg.optim,
            train=cfg.train,
            model=cfg.model,
            loss=PriorLossConfig(token=0.0, pixel=0.0, agmm=1.0),
            agmm=cfg.agmm,
            weak=cfg.weak,
        )
        super().__init__(twin, Posterior.placeholder(train.label_space), train, train if val is None else val)
        self._validates = val is not None

    def _aux_loss(
        self, output: GSSPriorOutput, labels: Tensor, weights: Tensor | None, unsure: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        """Partial cross-entropy: the mean over images of their labelled pixels' mean, whatever the others have."""
        weights = image_weights(labels, weights)
        return super()._aux_loss(output, labels, weights, unsure) * (weights.sum() / len(labels))

    def validate(self) -> dict[str, float]:
        """Mean IoU and boundary F on the validation split, if there is one."""
        return super().validate() if self._validates else {}


def train_weak_agmm(cfg: WeakAgmmConfig, out: str | Path, *, resume: bool = False) -> dict[str, float]:
    """Trains a pixel classifier from partial masks; the product is `out/pipeline`.

    Args:
        cfg: its configuration; an empty `data.val_split` goes without validation.
        out: run folder.
        resume: go on from the newest checkpoint.

    Returns:
        Validation figures of the last weights.

    Raises:
        ValueError: no labelled pixel, a class without any that is not allowed to, or other classes in the splits.
    """
    distributed.num_processes()
    torch.manual_seed(cfg.train.seed)
    unaugmented = dataclasses.replace(cfg.data, cache=False)
    plain = build_dataset(unaugmented, cfg.data.train_split, train=False)
    check_seeds(plain, allow=cfg.weak.allow_missing, partial=True)
    augmented = build_dataset(cfg.data, cfg.data.train_split, train=True, seed=cfg.train.seed)
    val = None
    if cfg.data.val_split:
        # Masks are compared at their own size, whatever the network works at.
        val = build_dataset(dataclasses.replace(unaugmented, size=None), cfg.data.val_split, train=False)
        check_classes(plain.label_space.names, val.label_space.names)
    metrics = fit(
        WeakAgmmTask(cfg, plain, val),
        augmented,
        optim=cfg.optim,
        train=cfg.train,
        out=Path(out),
        workers=cfg.data.workers,
        resume=resume,
        config=cfg,
    )
    if metrics and distributed.is_main():
        print("  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    return metrics
