"""Bits per pixel of the true masks: joint, of independent cells, of independent pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from gss.core.distributed import sum_across
from gss.core.records import Record
from gss.data.transforms import to_float
from gss.evaluation.reconstruction import padded_pair
from gss.evaluation.samples.protocol import SampleProtocol
from gss.labels.space import IGNORE_INDEX
from gss.models.inputs import pad_to_multiple
from gss.models.joint import JointContext
from gss.models.joint.bound import cell_nats, cell_scores, order_bound
from gss.pipeline.pipeline import GSSPipeline

_NAMES = ("joint", "cells", "pixels", "joint_masks", "unigram")


@dataclass(frozen=True)
class BitsResult(Record):
    """Bits per labelled pixel of the true masks; None without labelled pixels.

    Attributes:
        joint: bound from above, of the joint prior given the image.
        cells: exact, each cell on its own given the image, as the prior without the joint one says.
        pixels: exact, each pixel on its own given the image.
        joint_masks: bound from above, of the joint prior without image.
        unigram: exact, each cell on its own without image, of codes by their frequency in training.
        ratio: joint / cells; below 1 the joint prior is certified to be better.
        masks_ratio: joint_masks / unigram.
    """

    joint: float | None
    cells: float | None
    pixels: float | None
    joint_masks: float | None
    unigram: float | None
    ratio: float | None
    masks_ratio: float | None


class BitsCounts:
    """Nats of all masks, added up over images.

    Args:
        pipeline: pipeline with a joint prior.
        protocol: its `orders` and seed.
    """

    def __init__(self, pipeline: GSSPipeline, protocol: SampleProtocol) -> None:
        self.pipeline, self.protocol = pipeline, protocol
        self.nats = dict.fromkeys(_NAMES, 0.0)
        self.labelled = 0.0

    @torch.no_grad()
    def update(self, index: int, image: object, labels: np.ndarray) -> None:
        """Add one image; `labels` uint8 `[H, W]`."""
        pipeline, joint = self.pipeline, self.pipeline.joint
        stride, device = joint.token_stride, pipeline.prior.device

        # 1. Token logits [1, V, h, w], labels [1, H, W] and the scores of codes.
        pixels = pad_to_multiple(to_float(np.asarray(image))[None].to(device), stride)
        output = pipeline.predict_tokens(pixels)
        padded = padded_pair(labels, stride, device)[0]
        tokens, scores = pipeline.likelihood.tokens(padded), cell_scores(joint.table, padded)
        valid = padded != IGNORE_INDEX

        # 2. Bounds of the joint prior, with and without image.
        contexts = {"joint": joint.encode(output), "joint_masks": JointContext.empty(1, *tokens.shape[1:]).to(device)}
        for number, (name, context) in enumerate(contexts.items()):
            generator = self.protocol.generator(1, index, number)
            bound = order_bound(joint, context, tokens, scores, draws=self.protocol.orders, generator=generator)
            self.nats[name] += float(bound.sum())

        # 3. Exact numbers of independent cells and pixels.
        base = cast(Tensor, output.token_logits)
        self.nats["cells"] += float(cell_nats(base, scores).double().sum())
        unigram = joint.token_log_share[None, :, None, None].expand_as(base)
        self.nats["unigram"] += float(cell_nats(unigram, scores).double().sum())
        marginal = pipeline.likelihood.marginal(base.softmax(1))
        certain = marginal.gather(1, padded.masked_fill(~valid, 0)[:, None])[:, 0].clamp(min=1e-12).log()
        self.nats["pixels"] -= float(certain[valid].double().sum())
        self.labelled += float(valid.sum())

    def compute(self) -> BitsResult:
        """Divide the sums of all processes."""
        values: Tensor = sum_across(torch.tensor([*self.nats.values(), self.labelled], dtype=torch.float64))
        *nats, labelled = values.tolist()
        if not labelled:
            return BitsResult(*[None] * 7)
        bits = {name: value / math.log(2) / labelled for name, value in zip(self.nats, nats, strict=True)}
        ratios = [bits[a] / bits[b] if bits[b] else None for a, b in (("joint", "cells"), ("joint_masks", "unigram"))]
        return BitsResult(**bits, ratio=ratios[0], masks_ratio=ratios[1])
