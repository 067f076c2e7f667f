"""Stage `weak-agmm`: a discriminative pixel classifier from partial masks."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from gss.config.prior import PriorConfig, PriorLossConfig
from gss.config.weak_agmm import WeakAgmmConfig
from gss.data.protocols import LabelledImages
from gss.models.prior import GSSPriorOutput
from gss.posterior.bundle import Posterior
from gss.training.engine.sources import Source
from gss.training.engine.stage import Say, quiet, report, seed_stage, train_task
from gss.training.identity import split_sources
from gss.training.prior.task import PriorTask
from gss.training.prior.warm_start import model_sources
from gss.training.splits import open_splits
from gss.weak.agmm.mixture import image_weights
from gss.weak.seeds import check_seeds


class WeakAgmmTask(PriorTask):
    """Training of the discriminative twin with partial cross-entropy and AGMM losses.

    The last weights are exported, or their average (`train.ema_decay`); full masks do not choose them.

    Args:
        cfg: settings of the stage.
        train: unaugmented training images.
        val: validation images at their original size; without them nothing is validated, and pictures show training
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
        """Return the partial cross-entropy: the mean over images of the mean over their labelled pixels."""
        weights = image_weights(labels, weights)
        return super()._aux_loss(output, labels, weights, unsure) * (weights.sum() / len(labels))

    def validate(self) -> dict[str, float]:
        """Return mean IoU and boundary F on the validation split, if there is one."""
        return super().validate() if self._validates else {}


def train_weak_agmm(
    cfg: WeakAgmmConfig, out: str | Path, *, resume: bool = False, say: Say = quiet
) -> dict[str, float]:
    """Train a pixel classifier from partial masks; the product is `out/pipeline`.

    Arguments and result are those of `gss.training.run.train`; without `data.val_split` nothing is validated.

    Raises:
        InputError: no labelled pixel, a class without any that is not allowed to, or other classes in the splits.
    """
    seed_stage(cfg)
    splits = open_splits(cfg.data, seed=cfg.train.seed, val_as_read=True, val_optional=True)
    check_seeds(splits.plain, allow=cfg.weak.allow_missing, partial=True)
    task = WeakAgmmTask(cfg, splits.plain, splits.val if cfg.data.val_split else None)

    def sources() -> list[Source]:
        return [*split_sources(splits), *model_sources(cfg.model)]

    figures = train_task(cfg, task, splits.augmented, out, sources=sources, resume=resume)
    report(say, figures)
    return figures
