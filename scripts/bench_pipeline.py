"""Latency of the whole pipeline, array in and mask out, against its discriminative twin and against UPerNet.

    python scripts/bench_pipeline.py [--quick] [--only NAME] [--json FILE] [--repeats N] [--threads N] [--cpu-time]

Ours is `GSSPipeline` with an EfficientNet-Lite0 backbone, 1024 codes at stride 4 and 19 classes. The twin is
the same pipeline and network read out from its auxiliary head, without token classifier and decoder. UPerNet
is `transformers.UperNetForSemanticSegmentation` in its default form on the same backbone configuration.
Weights are random, which changes no time. How times and peaks are measured is told in bench_core.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from bench_core import Case, Row, run
from torch import nn
from torch.nn import functional as F
from transformers import UperNetConfig, UperNetForSemanticSegmentation

from gss.models.efficientnet_lite import EfficientNetLiteConfig
from gss.models.prior import GSSPriorModel
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.processor import GSSImageProcessor
from gss.posterior.codec import MaskigeCodec
from gss.posterior.likelihood import CellLikelihood
from gss.posterior.palette import maxmin
from vqvae import MaskigeVQModel

CLASSES, CODES, STRIDE = 19, 1024, 4


def pipeline() -> GSSPipeline:
    likelihood = CellLikelihood(CODES, CLASSES, STRIDE)
    likelihood.set_table(torch.randn(CODES, CLASSES, STRIDE, STRIDE).mul(3).softmax(1))
    # As `gss train prior` builds it by default.
    prior = GSSPriorModel.from_backbone(
        pretrained=False,
        codebook_size=CODES,
        token_stride=STRIDE,
        context_stride=8,
        classifier="evidence",
        num_labels=CLASSES,
    )
    prior.tie_evidence(likelihood.table)
    vqvae = MaskigeVQModel(downsample=STRIDE, codebook_size=CODES)
    codec = MaskigeCodec(maxmin(CLASSES).tolist())
    whole = GSSPipeline(GSSImageProcessor(), prior.eval(), codec.eval(), vqvae.eval(), likelihood.eval())
    whole.set_progress_bar_config(disable=True)
    return whole


def upernet() -> nn.Module:
    config = UperNetConfig(backbone_config=EfficientNetLiteConfig(), num_labels=CLASSES, use_auxiliary_head=False)
    return UperNetForSemanticSegmentation(config).eval()


def case(mode: str, peer: str, size: tuple[int, int]) -> Callable[[bool], Case]:
    def build(quick: bool) -> Case:
        height, width = (64, 96) if quick else size
        picture = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
        ours = pipeline()

        def segment(decode: str) -> np.ndarray:
            return np.asarray(ours(picture, decode=decode, window="whole", return_tokens=False).masks[0])

        if peer == "twin":
            return Case(lambda: segment(mode), lambda: segment("aux"), None)
        other = upernet()

        @torch.no_grad()
        def segment_peer() -> np.ndarray:
            pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
            # Its fusion needs maps that cover the image exactly.
            pixels = F.pad(pixels, (0, -width % 32, 0, -height % 32), mode="replicate")
            return np.asarray(other(pixels).logits[0, :, :height, :width].argmax(0))

        return Case(lambda: segment(mode), segment_peer, None)

    return build


ROWS = [
    Row(f"pipeline {mode}, {height}x{width}", peer, case(mode, peer, (height, width)))
    for height, width in ((360, 480), (1024, 2048))
    for mode, peer in (("hard", "twin"), ("marginal", "twin"), ("fused", "twin"), ("fused", "UPerNet"))
]


if __name__ == "__main__":
    run(ROWS, __doc__)
