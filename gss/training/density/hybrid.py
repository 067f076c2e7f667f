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
from gss.training.density.train import export
from gss.training.engine.task import Task
from gss.training.losses.classification import token_cross_entropy, weighted_cross_entropy
from gss.training.losses.marginal import token_and_pixel_loss

# Logit of a class that cannot be predicted: interpolation makes NaN of infinities.
_NEVER = -1e4


class HybridTask(Task):
    """Cross-entropy of the mixture's logits, plus a contrast between components; EM in the forward pass.

    Args:
        cfg: the run's configuration.
        pipeline: its prior is frozen unless `hybrid.train_prior`.
        val: validation images at their original size.

    Raises:
        ValueError: nothing to train, or averaged weights, which the mixture would not belong to.
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
        """The loss, its terms, and the share of pixels the mixture gets right."""
        hybrid, labels = self.cfg.hybrid, batch["labels"]
        with nullcontext() if hybrid.train_prior else torch.no_grad():
            output = self.prior(batch["image"], return_tokens=False)
        x = self.head.embed(self.prior.dense_features(output, self.head.source))
        shape = x.shape[:3]
        rows = x.flatten(0, 2)
        if not rows.isfinite().all():
            # No eigenvectors of such features exist; the loop stops at this loss and names step and images.
            return {"loss": rows.sum() * float("nan")}
        grid = F.interpolate(labels[:, None].float(), size=shape[1:], mode="nearest-exact").long().flatten()
        keys = self._keys(batch, step, cells=shape[1] * shape[2]).to(grid.device)
        sample = balanced_sample_across(grid, hybrid.pixels_per_class, self.head.num_classes, keys)
        classes, keys = grid[sample], keys[sample]
        self.em.seed(self.head, rows[sample].detach(), classes, keys)
        density = self.head.component_log_density(rows)
        logits = self.head.normalise(self.head.gather_evidence(density)).clamp(min=_NEVER)
        correct = logits.detach()[sample].argmax(1) == classes
        own = own_class(density.detach()[sample], classes)
        component = self.em.update(self.head, rows.detach()[sample], classes, own, correct, keys)
        contrast = component_contrast(density[sample], classes, component)
        maps = logits.view(*shape, -1).movedim(-1, 1)
        maps = F.interpolate(maps, size=labels.shape[-2:], mode="bilinear")
        known = torch.cat([self.head.active.any(1), labels.new_zeros(IGNORE_INDEX + 1).bool()])[labels]
        mixture = weighted_cross_entropy(maps, labels.masked_fill(~known, IGNORE_INDEX))
        terms = {"mixture": mixture, "contrast": contrast}
        total = mixture + hybrid.contrast * contrast
        if hybrid.train_prior:
            terms |= self._own_losses(batch, output)
            total = total + hybrid.own * sum(terms[name] for name in ("aux", "token") if name in terms)
        share = correct.float().sum() / max(1, len(sample))
        return {"loss": total, "correct": share, **{name: value.detach() for name, value in terms.items()}}

    def _keys(self, batch: dict[str, Any], step: int, *, cells: int) -> Tensor:
        """A random number for each cell of the batch, whichever process has the image."""
        items = batch["index"].tolist()
        return torch.cat([random_keys(cells, self.cfg.train.seed, step, item) for item in items])

    def _own_losses(self, batch: dict[str, Any], output: GSSPriorOutput) -> dict[str, Tensor]:
        """What keeps the prior's own heads right while its features change."""
        labels, posterior = batch["labels"], self._posterior
        assert output.aux_logits is not None
        aux = F.interpolate(output.aux_logits, size=labels.shape[-2:], mode="bilinear")
        terms = {"aux": weighted_cross_entropy(aux, labels)}
        if posterior is None or output.token_hidden is None:
            return terms
        targets = posterior.tokens(labels, batch["filled"])
        weight, bias = self.prior.classifier_weight()
        if posterior.likelihood is None:
            return terms | {"token": token_cross_entropy(output.token_hidden, weight, bias, targets)}
        both, _, _ = token_and_pixel_loss(
            output.token_hidden,
            weight,
            bias,
            targets=targets[:, None],
            target_probs=torch.ones_like(targets[:, None], dtype=torch.float32),
            labels=labels,
            table=posterior.likelihood.table,
            token_scale=1.0,
            pixel_scale=1.0,
        )
        return terms | {"token": both}

    def validate(self) -> dict[str, float]:
        """Mean IoU of the mixture as a classifier, and of the pipeline's own mode."""
        pipeline = self.pipeline()
        modes = ["density", pipeline.default_decode]
        return evaluate(pipeline, self._val_set, modes=modes, pictures=0, throughput=False).figures()

    def pipeline(self) -> GSSPipeline:
        """The pipeline made of the current weights; what was fitted to the old features is left out."""
        parts = {**self._source.components, "prior": self.prior, "density": self.head, "ood": None}
        if self.cfg.hybrid.train_prior:
            parts["residual"] = None
        pipeline = GSSPipeline(**parts)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def export(self, folder: Path) -> None:
        """Writes the pipeline."""
        export(self.pipeline(), folder, source=Path(self.cfg.pipeline))


def component_contrast(density: Tensor, classes: Tensor, component: Tensor) -> Tensor:
    """Cross-entropy over all components, the one a pixel was assigned to as target: GMMSeg's contrast.

    A mean over the pixels of all processes: the average of what each returns is that of one process.

    Args:
        density: log-densities `[N, C, M]`, -inf for components not in use.
        classes: int64 `[N]`.
        component: int64 `[N]`, of the pixel's class.
    """
    # int64 targets without an ignore value: target 255 is a component like any other.
    target = classes * density.shape[2] + component
    total = F.cross_entropy(density.flatten(1), target, reduction="sum")
    count = distributed.sum_across(torch.tensor(len(target), device=density.device))
    return total * distributed.num_processes() / count.clamp(min=1)


def _label_space(pipeline: GSSPipeline) -> LabelSpace:
    colors = tuple((int(r), int(g), int(b)) for r, g, b in pipeline.colors)
    return LabelSpace(names=tuple(pipeline.id2label.values()), colors=colors)
