"""Export a pipeline: the files, the check that they say what the pipeline says, and the report of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gss.core.files import write_json
from gss.core.records import Record
from gss.export.files import METADATA, export_joint, export_onnx, export_pt2, quantize
from gss.export.graph import PipelineGraph, check_graph_size
from gss.export.parity import JointAgreement, Parity, Runner, measure_joint, measure_parity
from gss.export.runtime import OnnxJoint, OnnxModel
from gss.models.evaluation_mode import evaluation_mode
from gss.pipeline.pipeline import GSSPipeline


@dataclass(frozen=True)
class Exported(Record):
    """Files of an export.

    Attributes:
        files: written files, the exact ones first.
        report: file of the parity report.
        parity: the report.
    """

    files: list[str]
    report: str
    parity: Parity


def export(
    pipeline: GSSPipeline,
    size: tuple[int, int],
    images: Iterable[tuple[Any, np.ndarray | None]],
    *,
    source: str,
    onnx: Path | None = None,
    pt2: Path | None = None,
    int8: bool = False,
    joint: bool = False,
    decode: str | None = None,
    score: str | None = None,
    weights: str = "",
    say: Callable[[str], None] = lambda text: None,
) -> Exported:
    """Write a pipeline as files of fixed size, and `FILE.parity.json` with what they agree on.

    A file that does not say what the pipeline says is removed.

    Args:
        pipeline: the pipeline, on a CPU in float32.
        size: (H, W) of the image.
        images: images to compare on, with labels `[H, W]` or None.
        source: where they came from.
        onnx: ONNX file to write.
        pt2: torch.export archive to write.
        int8: also write the ONNX file with 8-bit integers, `NAME.int8.onnx`.
        joint: also write the joint prior, as `NAME.encode.onnx` and `NAME.step.onnx`.
        decode: decode mode; the default one if None.
        score: out-of-distribution score; the default one if None.
        weights: digest of the pipeline's files.
        say: receives what is being done.

    Raises:
        InputError: see `export_onnx` and `Parity.check`.
    """
    check_graph_size(pipeline, size)
    options: dict[str, Any] = {"decode": decode, "score": score, "weights": weights}
    runners: dict[str, Runner] = {}
    files: list[Path] = []
    # 1. The files.
    if onnx is not None:
        say(f"exporting {onnx}")
        export_onnx(pipeline, onnx, size, **options)
        runners[onnx.name] = OnnxModel(onnx).run
        files.append(onnx)
    if pt2 is not None:
        say(f"exporting {pt2}")
        export_pt2(pipeline, pt2, size, **options)
        runners[pt2.name] = load_pt2(pt2)
        files.append(pt2)
    exact = list(files)
    if int8 and onnx is not None:
        small = onnx.with_suffix(".int8.onnx")
        say(f"quantising {small}")
        quantize(onnx, small)
        runners[small.name] = OnnxModel(small).run
        files.append(small)
    pair: list[Path] = []
    if joint and onnx is not None:
        pair = [onnx.with_suffix(f".{kind}.onnx") for kind in ("encode", "step")]
        say(f"exporting {pair[0]} and {pair[1].name}")
        export_joint(pipeline, pair[0], pair[1], size, weights=weights)
        files += pair

    # 2. What they say.
    say("comparing with the pipeline")
    graph, compared = PipelineGraph(pipeline, decode=decode, score=score), list(images)
    with evaluation_mode([graph]):
        classes = len(pipeline.id2label)
        parity = measure_parity(graph, runners, compared, size, classes=classes, source=source)
    try:
        for file in exact:
            parity.check(file.name)
        if pair:
            found = _compare_joint(pipeline, pair, [image for image, _ in compared], size)
            found.check(f"{pair[0].name} and {pair[1].name}")
            parity = replace(parity, joint=found)
    except Exception:
        for file in files:
            file.unlink(missing_ok=True)
        raise
    first = files[0]
    report = first.with_name(f"{first.name}.parity.json")
    write_json(report, parity.to_json())
    return Exported([str(file) for file in files], str(report), parity)


def _compare_joint(
    pipeline: GSSPipeline, pair: Sequence[Path], images: Sequence[Any], size: tuple[int, int]
) -> JointAgreement:
    """Return how far the two files of a joint prior agree with it."""
    joint, prior = pipeline.joint, pipeline.prior
    assert joint is not None
    with evaluation_mode([joint, prior]):
        return measure_joint(
            joint, lambda image: joint.encode(pipeline.predict_tokens(image)), OnnxJoint(*pair), images, size
        )


def load_pt2(path: Path) -> Runner:
    """Return the function of a torch.export archive that `export_pt2` wrote."""
    extra = {METADATA: ""}
    module = torch.export.load(path, extra_files=extra).module()
    names = json.loads(extra[METADATA])["outputs"]

    def run(image: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            return dict(zip(names, module(image), strict=True))

    return run
