"""What stage `joint` trains: a joint prior of tokens on a frozen pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from gss.config.joint import JointConfig
from gss.data.protocols import LabelledImages
from gss.models.joint import JointContext
from gss.models.joint.bound import cell_nats, cell_scores
from gss.models.prior import GSSPriorModel
from gss.pipeline.pipeline import GSSPipeline
from gss.posterior.likelihood import CellLikelihood
from gss.training.engine.task import Task
from gss.training.extension import export, with_components
from gss.training.joint.build import build_joint
from gss.training.joint.masks import draw_known
from gss.training.joint.measure import measure


class JointTask(Task):
    """Training of a joint prior: first on masks alone, then beside the frozen prior.

    Args:
        cfg: settings of the stage.
        pipeline: pipeline to extend.
        plain: training images without augmentation.
        val: validation images.

    Attributes:
        joint: joint prior in training.

    Raises:
        InputError: the pipeline has no local decoder.
    """

    export_name = "pipeline"
    prior: GSSPriorModel
    likelihood: CellLikelihood

    def __init__(self, cfg: JointConfig, pipeline: GSSPipeline, plain: LabelledImages, val: LabelledImages) -> None:
        super().__init__()
        self.cfg, self._source, self._plain, self._val = cfg, pipeline, plain, val
        self.joint = build_joint(cfg, pipeline, plain)
        self.freeze(prior=pipeline.prior, likelihood=cast(CellLikelihood, pipeline.likelihood))

    def forward(self, batch: dict[str, Any], step: int) -> dict[str, Tensor]:
        """Return the weighted sum of the losses, and each: `pixel` in nats a pixel, `token` in nats a cell."""
        loss, repeats = self.cfg.loss, self.cfg.loss.repeats
        # 1. Tokens of the masks; what is known of each copy, [B * repeats, h, w].
        images, labels = batch["image"], batch["labels"]
        tokens = self.likelihood.tokens(labels).repeat_interleave(repeats, 0)
        scores = cell_scores(self.joint.table, labels).repeat_interleave(repeats, 0)  # [B * repeats, V, h, w]
        classes = self.joint.share.argmax(1)[tokens.clamp(min=0)]
        known = draw_known(classes, loss.structured) & (tokens >= 0)
        given = torch.where(known, tokens, self.joint.mask_token)

        # 2. The frozen prior on the images that are seen; the samples of a batch come in random order.
        pictured = 0
        if step >= loss.masks_only * self.cfg.train.steps:
            pictured = round(len(images) * (1 - loss.image_drop))
        logits = []
        if pictured:
            with torch.no_grad():
                output = self.prior(images[:pictured], return_hidden=False)
            context = self.joint.encode(output).repeat(repeats)
            logits.append(self.joint(given[: pictured * repeats], context).token_logits)
        if pictured < len(images):
            rest = given[pictured * repeats :]
            context = JointContext.empty(len(rest), rest.shape[1], rest.shape[2]).to(rest.device)
            logits.append(self.joint(rest, context).token_logits)

        # 3. Mean over the unknown cells of a mask, then over masks.
        token_logits = torch.cat(logits)
        weight = (~known & (tokens >= 0)).float()
        weight = weight / (weight.sum((1, 2), keepdim=True).clamp(min=1) * len(weight))
        area = self.joint.token_stride**2
        pixel = (cell_nats(token_logits, scores) * weight).sum() / area
        token = (F.cross_entropy(token_logits, tokens, reduction="none", ignore_index=-100) * weight).sum()
        # Per cell, as the token loss; and every parameter has a gradient on every process.
        total = loss.pixel * area * pixel + loss.token * token
        total = total + 0 * sum(parameter.sum() for parameter in self.joint.parameters())
        return {"loss": total, "pixel": pixel.detach(), "token": token.detach()}

    def validate(self) -> dict[str, float]:
        """Return bits a pixel and the gain where cells are given, see `measure`."""
        return measure(self._source, self.joint, self._val, self._plain, self.cfg.validation, seed=self.cfg.train.seed)

    def pipeline(self) -> GSSPipeline:
        """Return the pipeline with the joint prior."""
        return with_components(self._source, joint=self.joint)

    def export(self, folder: Path) -> None:
        """Write the pipeline with the joint prior."""
        export(self.pipeline(), folder, source=Path(self.cfg.pipeline))
