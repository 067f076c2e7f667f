"""The joint prior of a pipeline as two functions of fixed size: `encode` once an image, `step` once a step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from gss import __version__
from gss.export.graph import FORMAT, INPUT
from gss.models.joint import JointContext
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.reading import Reader
from gss.pipeline.sampling.arguments import need_joint

FEATURES = ("base", "doubt", "belief", "silence")
"""Parts of `JointContext` that go from `encode` to `step`."""
TOKENS = "tokens"
LOGITS = "token_logits"


class EncodeGraph(nn.Module):
    """Function from an image `[1, 3, H, W]` in [0, 1] to what every step reads.

    Args:
        pipeline: the pipeline; its components are shared.

    Raises:
        InputError: it has no joint prior.
    """

    kind = "encode"
    inputs = (INPUT,)
    outputs = FEATURES

    def __init__(self, pipeline: GSSPipeline) -> None:
        super().__init__()
        self.joint = need_joint(pipeline.joint, pipeline.likelihood, "the export of encode and step")
        self.reader = Reader(**{name: part for name, part in pipeline.components.items() if name != "processor"})
        self.prior = pipeline.prior

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return base `[1, V, h, w]`, doubt `[1, 3, h, w]`, belief `[1, K, h, w]` and silence `[1, K + R, h, w]`."""
        context = self.joint.encode(self.reader.run(image))
        return tuple(cast(Tensor, getattr(context, name)) for name in FEATURES)


class StepGraph(nn.Module):
    """Function from tokens int64 `[1, h, w]`, V where unknown, and features to token logits `[1, V, h, w]`.

    Args:
        pipeline: the pipeline; its joint prior is shared.

    Raises:
        InputError: it has no joint prior.
    """

    kind = "step"
    inputs = (TOKENS, *FEATURES)
    outputs = (LOGITS,)

    def __init__(self, pipeline: GSSPipeline) -> None:
        super().__init__()
        self.joint = need_joint(pipeline.joint, pipeline.likelihood, "the export of encode and step")

    @property
    def mask_token(self) -> int:
        """V, the token of unknown cells."""
        return self.joint.mask_token

    def forward(self, tokens: Tensor, base: Tensor, doubt: Tensor, belief: Tensor, silence: Tensor) -> Tensor:
        """Return the logits of every cell given the known ones; those of known cells mean nothing."""
        features = {"base": base, "doubt": doubt, "belief": belief, "silence": silence}
        return self.joint.step(tokens, image_context(features))


def image_context(features: dict[str, Tensor]) -> JointContext:
    """Return the context of images with features of `encode` by name."""
    base = features["base"]
    image = torch.ones(base.shape[0], dtype=torch.bool, device=base.device)
    return replace(JointContext((base.shape[2], base.shape[3]), image), **cast(Any, features))


def joint_facts(
    pipeline: GSSPipeline, graph: EncodeGraph | StepGraph, size: tuple[int, int], weights: str
) -> dict[str, Any]:
    """Return what a user of one of the two files needs to know, for its metadata.

    Args:
        pipeline: the pipeline.
        graph: which of the two.
        size: (H, W) of the image.
        weights: digest of the pipeline's files.
    """
    stride = pipeline.prior.config.token_stride
    return {
        "format": FORMAT,
        "kind": graph.kind,
        "gss": __version__,
        "size": list(size),
        "cells": [size[0] // stride, size[1] // stride],
        "token_stride": stride,
        "mask_token": graph.joint.mask_token,
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "labels": [pipeline.id2label[index] for index in sorted(pipeline.id2label)],
        "colors": pipeline.colors.tolist(),
        "weights": weights,
    }
