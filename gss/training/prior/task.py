"""Task of stage 2: predict the tokens of a mask from an image; without tokens it is the discriminative twin."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from gss.config.prior import PriorConfig
from gss.core.errors import InputError
from gss.core.sampling import evenly_spaced
from gss.data.datasets import SegmentationDataset
from gss.data.protocols import LabelledImages
from gss.evaluation.segmentation.evaluate import evaluate
from gss.evaluation.segmentation.result import by_mode
from gss.labels.space import IGNORE_INDEX
from gss.models.prior import GSSPriorOutput
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.processor import GSSImageProcessor
from gss.pipeline.store.trained import training_record
from gss.posterior.bundle import Posterior
from gss.posterior.cells import class_weights, pixel_weights, to_cells
from gss.report.pictures import colorize, contact_sheet
from gss.training.engine.task import Task
from gss.training.losses.prior import Doubt, aux_loss, needs_logits, token_losses
from gss.training.losses.terms import find_terms
from gss.training.posterior.task import count_classes
from gss.training.prior.agmm import BatchAGMM
from gss.training.prior.build import build_prior
from gss.training.prior.scale import measure_scale
from gss.weak.confidence import ConfidenceWeighting

# Codes kept of the exact posterior when targets are soft; the rest has next to no mass.
_SOFT_CODES = 8


class PriorTask(Task):
    """Prior in training, under a frozen posterior.

    Args:
        cfg: settings of the stage.
        posterior: frozen source of token targets, and decoder behind the pixel loss.
        train: unaugmented training images, for class frequencies.
        val: validation images at their original size.

    Raises:
        InputError: settings that do not fit each other or the posterior.
    """

    export_name = "pipeline"

    def __init__(self, cfg: PriorConfig, posterior: Posterior, train: LabelledImages, val: LabelledImages) -> None:
        super().__init__()
        self.cfg, self._val_set, self._train_images = cfg, val, len(train)
        self.posterior = posterior
        self.freeze(codec=posterior.codec, vqvae=posterior.vqvae)
        if posterior.likelihood is not None:
            self.freeze(likelihood=posterior.likelihood)
        # With `data.size` all images run at this size.
        self.scale = measure_scale(train) if cfg.data.size is None else None
        self.is_twin = cfg.loss.token == 0 and cfg.loss.pixel == 0
        if self.is_twin and cfg.loss.aux == 0:
            raise InputError("loss.token, loss.pixel and loss.aux are all 0: nothing is left to train on")
        if cfg.loss.isolate and not self.is_twin and cfg.loss.aux == 0:
            raise InputError(
                "loss.isolate=true with loss.aux=0: no loss trains the shared features; set loss.aux above 0"
            )
        if cfg.loss.token_soften > 0 and posterior.likelihood is None:
            raise InputError("loss.token_soften needs a posterior with a local decoder: set it to 0")
        if cfg.loss.easy_share < 1 and posterior.likelihood is None:
            raise InputError("loss.easy_share below 1 needs a posterior with a local decoder: set it to 1")
        self.prior = build_prior(cfg, posterior, train, tokens=not self.is_twin)
        f, crop = posterior.vqvae.token_stride, cfg.data.crop
        if crop[0] % f or crop[1] % f:
            raise InputError(f"data.crop={list(crop)} does not divide into cells of {f} pixels: use multiples of {f}")
        self.confidence = ConfidenceWeighting(cfg.weak, train)
        self.agmm = (
            BatchAGMM(cfg.agmm, train, cfg.model.hidden_dim, steps=cfg.train.steps) if cfg.loss.agmm > 0 else None
        )
        self.terms = find_terms(cfg.loss.terms)
        if cfg.loss.rarity > 0:
            self.class_weight = class_weights(count_classes(train), cfg.loss.rarity)

    def forward(self, batch: dict[str, Any], step: int) -> dict[str, Tensor]:
        """Return the weighted sum of the losses in use, and each of them."""
        loss = self.cfg.loss
        labels, weights, unsure = self.confidence(batch["labels"], batch.get("confidence"))
        output = self.prior(
            batch["image"],
            return_tokens=needs_logits(self.posterior, loss.pixel) and not loss.isolate,
            return_hidden=not (self.is_twin or loss.isolate),
        )
        if loss.isolate and not self.is_twin:
            self._isolate_tokens(output)
        terms: dict[str, Tensor] = {}
        total = torch.zeros((), device=labels.device)
        if loss.aux > 0:
            terms["aux"] = self._aux_loss(output, labels, weights, unsure)
            total = total + loss.aux * terms["aux"]
        for name, (weight, term) in self.terms.items():
            assert output.aux_logits is not None
            terms[name] = term(output.aux_logits.float(), labels)
            total = total + weight * terms[name]
        if self.agmm is not None:
            mixture, parts = self.agmm(output, batch, step, labels=labels, confidence=weights)
            terms |= {f"agmm_{name}": value for name, value in parts.items()}
            total = total + loss.agmm * mixture
        if not self.is_twin:
            targets, probs = self._targets(labels, batch["filled"], output, step)
            both, parts = token_losses(
                self.prior,
                self.posterior,
                output,
                labels=labels,
                targets=targets,
                target_probs=probs,
                token_scale=loss.token,
                pixel_scale=loss.pixel,
                cell_weights=self._cell_weight(labels, weights),
                pixel_weights=weights,
                doubt=unsure,
                collision=self.cfg.weak.loss == "collision",
                easy_share=loss.easy_share,
                chunk=loss.token_chunk,
            )
            terms |= parts
            total = total + both
        return {"loss": total, **{name: value.detach() for name, value in terms.items()}}

    def _isolate_tokens(self, output: GSSPriorOutput) -> None:
        """Add what the token losses read, without a path for their gradient to what the auxiliary head reads."""
        features, logits = cast(Tensor, output.features).detach(), cast(Tensor, output.aux_logits).detach()
        output.token_hidden = self.prior.token_input(features, logits)
        if needs_logits(self.posterior, self.cfg.loss.pixel):
            output.token_logits = self.prior.classify(output.token_hidden)

    def _aux_loss(self, output: GSSPriorOutput, labels: Tensor, weights: Tensor | None, unsure: Doubt | None) -> Tensor:
        """Return the cross-entropy of the auxiliary head."""
        return aux_loss(output, labels, weights=weights, doubt=unsure, collision=self.cfg.weak.loss == "collision")

    def _targets(self, labels: Tensor, filled: Tensor, output: GSSPriorOutput, step: int) -> tuple[Tensor, Tensor]:
        """Return codes and their probabilities `[B, k, h, w]`; -100 where a cell is wholly void."""
        loss = self.cfg.loss
        if loss.void_fill == "aux" and step >= loss.void_fill_warmup:
            labels = filled = self._fill_void(labels, output)
        if loss.token_soften > 0:
            likelihood = self.posterior.likelihood
            assert likelihood is not None
            return likelihood.posterior(labels, _SOFT_CODES, loss.token_soften)
        targets = self.posterior.tokens(labels, filled)[:, None]
        return targets, torch.ones_like(targets, dtype=torch.float32)

    def _cell_weight(self, labels: Tensor, weights: Tensor | None) -> Tensor | None:
        """Return the weight of each cell `[B, h, w]`, by its classes and its valid pixels; None when all are alike."""
        f, cell_weight = self.posterior.vqvae.token_stride, None
        if self.cfg.loss.rarity > 0:
            cells = to_cells(labels, f)
            cell_weight = pixel_weights(cells, self.class_weight.to(labels.device)).mean((-1, -2))
        if weights is not None:
            valid = to_cells((labels != IGNORE_INDEX).float(), f)
            count = valid.sum((-1, -2))
            mean = (to_cells(weights, f) * valid).sum((-1, -2)) / count.clamp(min=1)
            mean = torch.where(count > 0, mean, 1.0)  # a void cell may have been filled
            cell_weight = mean if cell_weight is None else cell_weight * mean
        return cell_weight

    def _fill_void(self, labels: Tensor, output: GSSPriorOutput) -> Tensor:
        """Return labels whose void pixels have the class that the auxiliary head predicts, as in the paper."""
        logits = F.interpolate(cast(Tensor, output.aux_logits).detach(), size=labels.shape[-2:], mode="bilinear")
        return torch.where(labels == IGNORE_INDEX, logits.argmax(1), labels)

    def validate(self) -> dict[str, float]:
        """Evaluate the assembled pipeline: mIoU and boundary F of every decode mode, and of every domain."""
        result = evaluate(self.pipeline(), self._val_set, pictures=0, throughput=False)
        return result.figures(("miou", "boundary_f"))

    def pictures(self) -> dict[str, Image.Image]:
        """Draw image, truth, maskige and prediction of three validation images."""
        colors, pipeline, rows = self._val_set.label_space.colors, self.pipeline(), []
        for index in evenly_spaced(len(self._val_set), 3):
            image, labels = self._val_set.read(int(index))
            output = pipeline(image, return_tokens=not self.is_twin)
            row = [image, colorize(labels, colors), colorize(np.asarray(output.masks[0]), colors)]
            if output.maskiges is not None:
                row.insert(2, Image.fromarray(np.asarray(output.maskiges[0])))
            rows.append(row)
        titles = ["image", "truth", *([] if self.is_twin else ["maskige"]), "prediction"]
        return {"prediction": contact_sheet(rows, titles)}

    def pipeline(self) -> GSSPipeline:
        """Return the pipeline with the current weights."""
        data = self.cfg.data
        posterior = self.posterior
        pipeline = GSSPipeline(
            processor=GSSImageProcessor(
                size=data.size,
                window_size=data.crop,
                train_scale=None if self.scale is None else self.scale.to_json(),
            ),
            prior=self.prior,
            vqvae=None if self.is_twin else posterior.vqvae,
            codec=posterior.codec,
            likelihood=None if self.is_twin else posterior.likelihood,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def export(self, folder: Path) -> None:
        """Write the pipeline."""
        data = self.cfg.data
        # As `gss evaluate` names it, whose results on the same data then take the place of these.
        val = self._val_set
        name = val.spec.name if isinstance(val, SegmentationDataset) else Path(str(data.spec)).stem
        train = self.cfg.train
        self.pipeline().save_pretrained(
            folder,
            metrics=by_mode(self.figures),
            measured_on=f"{name} {data.val_split.rpartition(':')[2]} ({len(val)} images)",
            training_data=training_record(
                name, data.train_split, images=self._train_images, steps=train.steps, batch_size=train.batch_size
            ),
        )
