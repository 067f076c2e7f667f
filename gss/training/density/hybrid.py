"""Hybrid training of a density head: features by gradient, the mixture by expectation maximisation."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gss.config.density import DensityConfig
from gss.core import distributed
from gss.core.errors import InputError
from gss.core.lookup.run_folders import find_pipeline
from gss.core.sampling import balanced_sample_across, random_keys
from gss.data.protocols import LabelledImages
from gss.evaluation.segmentation.evaluate import evaluate
from gss.labels.space import IGNORE_INDEX, LabelSpace
from gss.models.gaussians import own_class
from gss.models.prior import GSSPriorOutput
from gss.pipeline.pipeline import GSSPipeline
from gss.posterior.bundle import Posterior
from gss.training.density.em import MixtureEM
from gss.training.density.posthoc import build_head
from gss.training.engine.task import Task
from gss.training.extension import export, with_components
from gss.training.losses.classification import weighted_cross_entropy
from gss.training.losses.prior import aux_loss, token_losses

# Logit of a class that cannot be predicted: interpolation makes NaN of infinities.
_NEVER = -1e4


class HybridTask(Task):
    """Training of the features by the mixture's logits, and of the mixture by EM in the forward pass.

    The loss is the cross-entropy of the class logits, plus a contrast between components.

    Args:
        cfg: settings of the stage.
        pipeline: pipeline to extend; its prior is frozen unless `hybrid.train_prior`.
        val: validation images at their original size.

    Raises:
        InputError: nothing to train, or averaged weights, which the mixture would not belong to.
    """

    export_name = "pipeline"

    def __init__(self, cfg: DensityConfig, pipeline: GSSPipeline, val: LabelledImages) -> None:
        super().__init__()
        if not cfg.hybrid.train_prior and not cfg.model.embed_dim:
            raise InputError(
                "model.embed_dim=0 leaves nothing to train: set it (64 in GMMSeg), or hybrid.train_prior=true"
            )
        if cfg.train.ema_decay > 0:
            raise InputError(
                f"train.ema_decay={cfg.train.ema_decay}: the mixture describes the features of the live weights, not "
                "of averaged ones; set it to 0"
            )
        self.cfg, self._val_set, self._source = cfg, val, pipeline
        config = pipeline.prior.config
        self.head = build_head(cfg, num_classes=config.num_labels, feature_dim=config.hidden_dim)
        self.em = MixtureEM(self.head, cfg.em)
        if cfg.hybrid.train_prior:
            self.prior = pipeline.prior.requires_grad_(True)
        else:
            self.freeze(prior=pipeline.prior)
        self._posterior = None
        if pipeline.vqvae is not None:
            self._posterior = Posterior(pipeline.codec, pipeline.vqvae, pipeline.likelihood, _label_space(pipeline))
            self.freeze(codec=pipeline.codec, vqvae=pipeline.vqvae)
            if pipeline.likelihood is not None:
                self.freeze(likelihood=pipeline.likelihood)

    def forward(self, batch: dict[str, Any], step: int) -> dict[str, Tensor]:
        """Return the loss, its terms, and the share of the sampled pixels that the mixture classifies correctly."""
        hybrid, labels = self.cfg.hybrid, batch["labels"]
        # 1. Embedded features, [B, h, w, E] -> rows [N, E], and labels on their grid, [B, H, W] -> [N].
        with nullcontext() if hybrid.train_prior else torch.no_grad():
            output = self.prior(batch["image"], return_tokens=False)
        x = self.head.embed(self.prior.dense_features(output, self.head.source))
        shape = x.shape[:3]
        rows = x.flatten(0, 2)
        if not rows.isfinite().all():
            # No eigenvectors of such features exist; the loop stops at this loss and names step and images.
            return {"loss": rows.sum() * float("nan")}
        grid = F.interpolate(labels[:, None].float(), size=shape[1:], mode="nearest-exact").long().flatten()
        # 2. Equally many pixels of every class, n of the N rows.
        keys = self._keys(batch, step, cells=shape[1] * shape[2]).to(grid.device)
        sample = balanced_sample_across(grid, hybrid.pixels_per_class, self.head.num_classes, keys)
        classes, keys = grid[sample], keys[sample]
        # 3. Log-densities of the components [N, C, M] and class logits [N, C].
        self.em.seed(self.head, rows[sample].detach(), classes, keys)
        density = self.head.component_log_density(rows)
        logits = self.head.normalise(self.head.gather_evidence(density)).clamp(min=_NEVER)
        # 4. EM on the sample.
        correct = logits.detach()[sample].argmax(1) == classes
        own = own_class(density.detach()[sample], classes)  # [n, M]
        component = self.em.update(self.head, rows.detach()[sample], classes, own, correct, keys)
        # 5. Losses.
        contrast = component_contrast(density[sample], classes, component)
        terms = {"mixture": self._mixture_loss(logits.view(*shape, -1).movedim(-1, 1), labels), "contrast": contrast}
        total = terms["mixture"] + hybrid.contrast * contrast
        if hybrid.train_prior:
            prior = self._prior_losses(batch, output)
            terms |= prior
            total = total + hybrid.own * sum(prior.values())
        share = correct.float().sum() / max(1, len(sample))
        return {"loss": total, "correct": share, **{name: value.detach() for name, value in terms.items()}}

    def _keys(self, batch: dict[str, Any], step: int, *, cells: int) -> Tensor:
        """Return a random number for each cell of the batch, the same whichever process has the image."""
        items = batch["index"].tolist()
        return torch.cat([random_keys(cells, self.cfg.train.seed, step, item) for item in items])

    def _mixture_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of class logits `[B, C, h, w]`, on pixels of classes that have a mixture."""
        logits = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear")
        known = torch.cat([self.head.active.any(1), labels.new_zeros(IGNORE_INDEX + 1).bool()])[labels]
        return weighted_cross_entropy(logits, labels.masked_fill(~known, IGNORE_INDEX))

    def _prior_losses(self, batch: dict[str, Any], output: GSSPriorOutput) -> dict[str, Tensor]:
        """Return the losses of the prior's heads, which keep them right while the features change."""
        labels, posterior = batch["labels"], self._posterior
        terms = {"aux": aux_loss(output, labels)}
        if posterior is None or output.token_hidden is None:
            return terms
        targets = posterior.tokens(labels, batch["filled"])[:, None]  # [B, 1, h, w]
        total, _ = token_losses(
            self.prior,
            posterior,
            output,
            labels=labels,
            targets=targets,
            target_probs=torch.ones_like(targets, dtype=torch.float32),
            token_scale=1.0,
            # With a contextual decoder the pixel loss needs all token logits, which are not computed here.
            pixel_scale=0.0 if posterior.likelihood is None else 1.0,
        )
        return terms | {"token": total}

    def validate(self) -> dict[str, float]:
        """Return the mIoU of the mixture as a classifier, and of the default decode mode."""
        pipeline = self.pipeline()
        modes = ["density", pipeline.default_decode]
        return evaluate(pipeline, self._val_set, modes=modes, pictures=0, throughput=False).figures()

    def pipeline(self) -> GSSPipeline:
        """Return the pipeline with the current weights, without scores that were fitted to the old features."""
        stale = {"residual": None} if self.cfg.hybrid.train_prior else {}
        return with_components(self._source, prior=self.prior, density=self.head, ood=None, **stale)

    def export(self, folder: Path) -> None:
        """Write the pipeline."""
        export(self.pipeline(), folder, source=find_pipeline(self.cfg.pipeline))


def component_contrast(density: Tensor, classes: Tensor, component: Tensor) -> Tensor:
    """Return the cross-entropy over all components, with the assigned component as target: GMMSeg's contrast.

    It is a mean over the pixels of all processes: the average over processes is the value of a single process.

    Args:
        density: log-densities `[N, C, M]`, -inf for components not in use.
        classes: class of each pixel, int64 `[N]`.
        component: assigned component of its class, int64 `[N]`.
    """
    # int64 targets without an ignore value: target 255 is a component like any other.
    target = classes * density.shape[2] + component
    total = F.cross_entropy(density.flatten(1), target, reduction="sum")
    count = distributed.sum_across(torch.tensor(len(target), device=density.device))
    return total * distributed.num_processes() / count.clamp(min=1)


def _label_space(pipeline: GSSPipeline) -> LabelSpace:
    colors = tuple((int(r), int(g), int(b)) for r, g, b in pipeline.colors)
    return LabelSpace(names=tuple(pipeline.id2label.values()), colors=colors)
