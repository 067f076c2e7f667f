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
        grids = self.likelihood.tokens(labels)
        tokens = grids.repeat_interleave(repeats, 0)
        classes = self.joint.share.argmax(1)[tokens.clamp(min=0)]
        known = draw_known(classes, loss.structured) & (tokens >= 0)
        given = torch.where(known, tokens, self.joint.mask_token)

        # 2. Unknown cells at which the loss is taken, [B * repeats, M]; their tokens, and scores of codes [.., V, M].
        unknown = (~known & (tokens >= 0)).flatten(1)
        cells = _some_cells(unknown, loss.cells)
        wanted = tokens.flatten(1).gather(1, cells)
        scores = cell_scores(self.joint.table, labels).flatten(2).repeat_interleave(repeats, 0)
        scores = scores.gather(2, cells[:, None].expand(-1, scores.shape[1], -1))

        # 3. The frozen prior on the images that are seen; the samples of a batch come in random order.
        pictured = 0
        if step >= loss.masks_only * self.cfg.train.steps:
            pictured = round(len(images) * (1 - loss.image_drop))
        logits = []
        if pictured:
            with torch.no_grad():
                output = self.prior(images[:pictured], return_hidden=False)
            context = self.joint.encode(output).repeat(repeats)
            seen = slice(0, pictured * repeats)
            logits.append(self.joint(given[seen], context, cells=cells[seen]).token_logits)
        if pictured < len(images):
            rest = slice(pictured * repeats, None)
            context = JointContext.empty(len(given[rest]), *given.shape[1:]).to(given.device)
            logits.append(self.joint(given[rest], context, cells=cells[rest]).token_logits)

        # 4. Mean over the unknown cells of a mask, then over masks.
        token_logits = torch.cat(logits)
        weight = unknown.gather(1, cells).float()
        weight = weight / (weight.sum(1, keepdim=True).clamp(min=1) * len(weight))
        area = self.joint.token_stride**2
        pixel = (cell_nats(token_logits, scores) * weight).sum() / area
        token = (F.cross_entropy(token_logits, wanted, reduction="none", ignore_index=-100) * weight).sum()
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


def _some_cells(unknown: Tensor, count: int) -> Tensor:
    """Choose cells of each item at random, int64 `[B, M]`: unknown ones `[B, N]` first; all if `count` is 0."""
    cells = unknown.shape[1]
    if not 0 < count < cells:
        return torch.arange(cells, device=unknown.device).expand_as(unknown)
    keys = torch.rand(unknown.shape, device=unknown.device) + unknown
    return keys.topk(count, 1).indices
