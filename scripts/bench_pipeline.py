"""Latency of the whole pipeline, array in and mask out, against its discriminative twin and against UPerNet.

    python scripts/bench_pipeline.py [--trained FOLDER] [--quick] [--only NAME] [--json FILE] [--repeats N] [--cpu-time]

Ours is `GSSPipeline` with an EfficientNet-Lite0 backbone, 1024 codes at stride 4 and 19 classes. The twin is the same
pipeline and network with its auxiliary head only, without token classifier and decoder. UPerNet is
`transformers.UperNetForSemanticSegmentation` in its default form on the same backbone configuration. Weights are
random: the auxiliary head is certain nowhere, so every cell is read with all codes, which is the slowest case.

`--trained FOLDER` adds rows for the pipelines of a finished `gss quickstart` in FOLDER (FOLDER/density/pipeline, else
FOLDER/prior/pipeline, and FOLDER/twin/pipeline), on one of its validation images at several sizes: each decode mode
against the twin, and against its exact reading (the column of errors is the share of pixels with another label).

bench_core.py describes how times and peaks are measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_core import Case, Row, differing, run
from torch import nn
from torch.nn import functional as F
from transformers import UperNetConfig, UperNetForSemanticSegmentation

from gss.config.prior import PriorModelConfig
from gss.core.machine import keep_memory
from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.models.efficientnet_lite import EfficientNetLiteConfig
from gss.models.prior import GSSPriorModel
from gss.pipeline.loading import load_pipeline
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.processor import GSSImageProcessor
from gss.posterior.codec import MaskigeCodec
from gss.posterior.likelihood import CellLikelihood
from gss.posterior.palette import maxmin
from vqvae import MaskigeVQModel

CLASSES, CODES, STRIDE = 19, 1024, 4


def pipeline(classes: int = CLASSES) -> GSSPipeline:
    likelihood = CellLikelihood(CODES, classes, STRIDE)
    likelihood.set_table(torch.randn(CODES, classes, STRIDE, STRIDE).mul(3).softmax(1))
    # As `gss train prior` builds it by default.
    prior = GSSPriorModel.from_backbone(
        pretrained=False,
        codebook_size=CODES,
        token_stride=STRIDE,
        context_stride=8,
        classifier="evidence",
        num_labels=classes,
        shortlists=PriorModelConfig().shortlists,
    )
    prior.tie_evidence(likelihood.table)
    vqvae = MaskigeVQModel(downsample=STRIDE, codebook_size=CODES)
    codec = MaskigeCodec(maxmin(classes).tolist())
    whole = GSSPipeline(GSSImageProcessor(), prior.eval(), codec.eval(), vqvae.eval(), likelihood.eval())
    whole.set_progress_bar_config(disable=True)
    return whole


def upernet() -> nn.Module:
    config = UperNetConfig(backbone_config=EfficientNetLiteConfig(), num_labels=CLASSES, use_auxiliary_head=False)
    return UperNetForSemanticSegmentation(config).eval()


def case(
    mode: str, peer: str, size: tuple[int, int], *, classes: int = CLASSES, images: int = 1, window: str = "whole"
) -> Callable[[bool], Case]:
    def build(quick: bool) -> Case:
        height, width = (64, 96) if quick else size
        picture = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
        ours = pipeline(classes)

        def segment(decode: str) -> np.ndarray:
            output = ours([picture] * images, decode=decode, window=window, return_tokens=False, batch_size=images)
            return np.asarray(output.masks[0])

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


def trained(folder: Path, *, twin: bool = False) -> GSSPipeline:
    """Pipeline of a finished quickstart, with the rules of today if it was saved before there were any."""
    main = folder / "density" / "pipeline"
    path = folder / "twin" / "pipeline" if twin else main if main.is_dir() else folder / "prior" / "pipeline"
    whole = load_pipeline(path, device="cpu")
    whole.prior.config.shortlists = whole.prior.config.shortlists or PriorModelConfig().shortlists
    return whole


def trained_case(folder: Path, mode: str, peer: str, size: tuple[int, int], exact: bool) -> Callable[[bool], Case]:
    def build(quick: bool) -> Case:
        height, width = (64, 96) if quick else size
        image, _ = open_split(load_spec("scenes"), "val").read(0)
        image = image.resize((width, height))
        ours = trained(folder)

        def segment(whole: GSSPipeline, decode: str, exact: bool) -> np.ndarray:
            # Not at the scale of training, which these sizes would be reduced to.
            options: dict[str, Any] = {"size": (height, width), "window": "whole", "exact": exact}
            return np.asarray(whole(image, decode=decode, return_tokens=False, **options).masks[0])

        if peer == "exact":
            return Case(lambda: segment(ours, mode, False), lambda: segment(ours, mode, True), differing)
        twin = trained(folder, twin=True)
        return Case(lambda: segment(ours, mode, exact), lambda: segment(twin, "aux", True), None)

    return build


def trained_rows(folder: Path) -> list[Row]:
    rows = []
    for height, width in ((192, 256), (360, 480), (1024, 2048)):
        size = (height, width)
        for mode in ("hard", "marginal", "fused"):
            name = f"trained {mode}, {height}x{width}"
            rows.append(Row(name, "twin", trained_case(folder, mode, "twin", size, False)))
            rows.append(Row(f"{name}, exact", "twin", trained_case(folder, mode, "twin", size, True)))
            rows.append(Row(name, "exact", trained_case(folder, mode, "exact", size, False)))
    return rows


ROWS = [
    Row(f"pipeline {mode}, {height}x{width}", peer, case(mode, peer, (height, width)))
    for height, width in ((360, 480), (1024, 2048))
    for mode, peer in (("hard", "twin"), ("marginal", "twin"), ("fused", "twin"), ("fused", "UPerNet"))
]
ROWS += [Row("pipeline marginal, 8x360x480", "twin", case("marginal", "twin", (360, 480), images=8))]
ROWS += [
    Row(f"pipeline {mode}, 1024x2048, K 150", "twin", case(mode, "twin", (1024, 2048), classes=150))
    for mode in ("hard", "marginal")
]
ROWS += [
    Row(
        "pipeline marginal, 1000x1500, K 150, windows",
        "twin",
        case("marginal", "twin", (1000, 1500), classes=150, window="slide"),
    )
]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--trained", type=Path)
    known, rest = parser.parse_known_args()
    torch.set_flush_denormal(True)  # as the commands do, and so is the next line
    keep_memory()
    run([*ROWS, *(trained_rows(known.trained) if known.trained else [])], __doc__, rest)
