"""AGMM losses on the batches of a data set with partial masks."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from gss.config.agmm import AgmmConfig
from gss.data.balanced import class_presence
from gss.data.protocols import LabelledImages
from gss.models.prior import GSSPriorOutput
from gss.weak.agmm.losses import AGMMLoss


class BatchAGMM(nn.Module):
    """`AGMMLoss` with the tags of the data set and the progress of the run.

    Args:
        cfg: settings.
        train: unaugmented training images; read once if tags are the labels of whole images.
        dim: channels of the features.
        steps: number of training steps.
    """

    presence: Tensor | None

    def __init__(self, cfg: AgmmConfig, train: LabelledImages, dim: int, *, steps: int) -> None:
        super().__init__()
        self.cfg, self.steps = cfg, steps
        self.loss = AGMMLoss(cfg, train.label_space.num_classes, dim)
        presence = torch.from_numpy(class_presence(train)) if cfg.tags == "labels" else None
        self.register_buffer("presence", presence, persistent=False)

    def forward(
        self, output: GSSPriorOutput, batch: dict[str, Any], step: int, *, labels: Tensor, confidence: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum of the losses, and parts to log; see `AGMMLoss`.

        Args:
            output: output of the network on the batch.
            batch: samples of `gss.data.sample.make_item`; `index`, `valid`, `tags` and `exhaustive` are used if
                present.
            step: optimizer step.
            labels: int64 `[B, H, W]`, 255 where unlabelled.
            confidence: `[B, H, W]`, weights of the labels, or None.
        """
        tags = exhaustive = None
        if self.presence is not None:
            tags = self.presence[batch["index"]]
        elif self.cfg.tags == "data" and "tags" in batch:
            tags, exhaustive = batch["tags"], batch["exhaustive"]
        return self.loss(
            cast(Tensor, output.features),
            cast(Tensor, output.aux_logits),
            labels,
            progress=step / self.steps,
            valid=batch.get("valid"),
            confidence=confidence,
            tags=tags,
            exhaustive=exhaustive,
            images=batch["image"],
        )
