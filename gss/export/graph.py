"""A pipeline as one function of fixed size: an image in, labels, confidence, probabilities and a score out."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from gss import __version__
from gss.core.errors import InputError
from gss.models.backbone import fixed_size
from gss.ood import build_score
from gss.ood.alarms import ALARM_RATES
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.processor import check_size
from gss.pipeline.reading import Reader

FORMAT = 1
"""Version of inputs, outputs and facts of an exported file."""
INPUT = "image"


class PipelineGraph(nn.Module):
    """Function from an image `[1, 3, H, W]` in [0, 1] to what a pipeline says about it.

    Args:
        pipeline: the pipeline; its components are shared.
        decode: decode mode; the default one if None.
        score: out-of-distribution score; the default one if None.
    """

    def __init__(self, pipeline: GSSPipeline, *, decode: str | None = None, score: str | None = None) -> None:
        super().__init__()
        self.mode, self.score = decode or pipeline.default_decode, score or pipeline.default_score
        pipeline.check_inputs([self.mode])
        pipeline.check_scores([self.score])
        parts = {name: part for name, part in pipeline.components.items() if name != "processor"}
        self.reader = Reader(**parts)  # all codes at once: choosing codes by the data is no graph of fixed shapes
        self.scores = {self.score: build_score(self.score, **pipeline.score_parts)}
        self.parts = nn.ModuleList(part for part in (*parts.values(), *self.scores.values()) if part is not None)
        self.has_tokens = pipeline.vqvae is not None

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs, in order."""
        return ["labels", "confidence", "probabilities", "ood", *(["maskige"] if self.has_tokens else [])]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return labels uint8 `[1, H, W]`, confidence `[1, H, W]`, probabilities `[1, K, H, W]` and score `[1, H, W]`.

        With tokens also the maskige, uint8 `[1, 3, H, W]`.
        """
        dense = self.reader.dense(image, [self.mode], self.scores, with_tokens=self.has_tokens)
        probabilities = dense.maps[self.mode]
        confidence, labels = probabilities.max(1)
        result = labels.to(torch.uint8), confidence, probabilities, dense.maps[self.score][:, 0]
        if not self.has_tokens:
            return result
        assert self.reader.vqvae is not None and dense.tokens is not None
        painted = self.reader.vqvae.decode_tokens(dense.tokens)
        maskige = ((painted.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        return *result, maskige


def check_graph_size(pipeline: GSSPipeline, size: tuple[int, int]) -> tuple[int, int]:
    """Return a size (H, W) that the graph of a pipeline can have.

    Raises:
        InputError: it is no multiple of what the network needs, or the network resizes images itself.
    """
    height, width = check_size(size, "size")
    multiple = math.lcm(pipeline.size_multiple, pipeline.prior.input_multiple)
    if height % multiple or width % multiple:
        near = "x".join(str(max(1, round(side / multiple)) * multiple) for side in (height, width))
        raise InputError(f"size is {height}x{width}; sides must be multiples of {multiple}, such as {near}")
    if fixed_size(pipeline.prior.config.backbone_config) is not None:
        raise InputError(
            "this backbone resizes its input with antialiasing, which other runtimes do differently; "
            "export a pipeline with another backbone"
        )
    return height, width


def graph_facts(pipeline: GSSPipeline, graph: PipelineGraph, size: tuple[int, int], weights: str) -> dict[str, Any]:
    """Return what a user of an exported file needs to know, for its metadata.

    Args:
        pipeline: the pipeline.
        graph: its graph.
        size: (H, W) of the image.
        weights: digest of the pipeline's files.
    """
    scale = pipeline.processor.scale
    alarms = pipeline.ood.alarms.get(graph.score) if pipeline.ood is not None else None
    return {
        "format": FORMAT,
        "gss": __version__,
        "size": list(size),
        "multiple": pipeline.size_multiple,
        "outputs": graph.outputs,
        "decode": graph.mode,
        "score": graph.score,
        "labels": [pipeline.id2label[index] for index in sorted(pipeline.id2label)],
        "colors": pipeline.colors.tolist(),
        "background": list(pipeline.background),
        "token_stride": pipeline.prior.config.token_stride,
        "train_scale": None if scale is None else scale.to_json(),
        "run_size": pipeline.processor.size,
        "short_side": pipeline.processor.short_side,
        "alarms": None if alarms is None else {"rates": list(ALARM_RATES), "thresholds": alarms},
        "weights": weights,
    }
