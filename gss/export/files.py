"""Write a pipeline as an ONNX file or a torch.export archive."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gss.core.errors import InputError
from gss.core.files import atomic_path
from gss.export.graph import INPUT, PipelineGraph, check_graph_size, graph_facts
from gss.export.joint import EncodeGraph, StepGraph, joint_facts
from gss.models.evaluation_mode import evaluation_mode
from gss.pipeline.pipeline import GSSPipeline

METADATA = "gss"
"""Key of the facts, as JSON, in the metadata of an ONNX file; name of the extra file in a torch.export archive."""
OPSET = 18


def load_onnx() -> Any:
    """Return the onnx package, once all that an export needs is there.

    Raises:
        InputError: a package is missing.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(f"an ONNX file needs {error.name}: pip install 'gss[export]'") from error
    return onnx


def export_onnx(
    pipeline: GSSPipeline,
    path: Path,
    size: tuple[int, int],
    *,
    decode: str | None = None,
    score: str | None = None,
    weights: str = "",
) -> None:
    """Write a pipeline as one ONNX file of fixed size, with its facts in the metadata.

    Args:
        pipeline: the pipeline, on a CPU in float32.
        path: file to write.
        size: (H, W) of the image.
        decode: decode mode; the default one if None.
        score: out-of-distribution score; the default one if None.
        weights: digest of the pipeline's files.

    Raises:
        InputError: a size that the network cannot have, a package that is missing, or a pipeline that has no ONNX form.
    """
    load_onnx()
    graph, example = _prepare(pipeline, size, decode, score)
    with _constants(pipeline, graph, example):
        _write(graph, (example,), path, [INPUT], graph.outputs, graph_facts(pipeline, graph, size, weights))


def export_joint(pipeline: GSSPipeline, encode: Path, step: Path, size: tuple[int, int], *, weights: str = "") -> None:
    """Write the joint prior of a pipeline as two ONNX files, see `EncodeGraph` and `StepGraph`.

    Args:
        pipeline: the pipeline, on a CPU in float32.
        encode: file to write, which runs once an image.
        step: file to write, which runs once a step.
        size: (H, W) of the image.
        weights: digest of the pipeline's files.

    Raises:
        InputError: the pipeline has no joint prior, and see `export_onnx`.
    """
    load_onnx()
    height, width = check_graph_size(pipeline, size)
    first, second = EncodeGraph(pipeline), StepGraph(pipeline)
    image = torch.rand(1, 3, height, width)
    with evaluation_mode([first, second]), torch.no_grad():
        features = first(image)
        tokens = torch.full((1, *features[0].shape[-2:]), second.mask_token)
    for graph, inputs, path in ((first, (image,), encode), (second, (tokens, *features), step)):
        _write(graph, inputs, path, graph.inputs, graph.outputs, joint_facts(pipeline, graph, size, weights))


def _write(
    graph: nn.Module,
    example: tuple[torch.Tensor, ...],
    path: Path,
    inputs: Sequence[str],
    outputs: Sequence[str],
    facts: Mapping[str, Any],
) -> None:
    """Write a graph as an ONNX file with facts in its metadata."""
    onnx = load_onnx()
    with evaluation_mode([graph]), torch.no_grad(), _quiet():
        try:
            program = torch.onnx.export(
                graph,
                example,
                dynamo=True,  # the older exporter does not know the sizes that pooling needs
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(outputs),
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise InputError(f"this pipeline has no ONNX form: {_plain_text(error)}") from error
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, {METADATA: json.dumps(facts)})
    with atomic_path(path) as temporary:
        onnx.save_model(model, temporary)


def export_pt2(
    pipeline: GSSPipeline,
    path: Path,
    size: tuple[int, int],
    *,
    decode: str | None = None,
    score: str | None = None,
    weights: str = "",
) -> None:
    """Write a pipeline as a torch.export archive (`.pt2`); arguments and errors as of `export_onnx`."""
    graph, example = _prepare(pipeline, size, decode, score)
    with evaluation_mode([graph]), torch.no_grad(), _constants(pipeline, graph, example), _quiet():
        program = torch.export.export(graph, (example,))
    facts = graph_facts(pipeline, graph, size, weights)
    with atomic_path(path) as temporary:
        torch.export.save(program, temporary, extra_files={METADATA: json.dumps(facts)})


def quantize(path: Path, target: Path) -> None:
    """Write an ONNX file whose matrices are 8-bit integers; activations are quantised as they come.

    Args:
        path: file of `export_onnx`.
        target: file to write.
    """
    onnx = load_onnx()
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with atomic_path(target) as temporary, tempfile.TemporaryDirectory() as folder, _quiet():
        prepared = Path(folder) / "prepared.onnx"
        # Constants of the exporter become initializers here, without which quantisation fails.
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
        quantize_dynamic(str(prepared), str(temporary), weight_type=QuantType.QUInt8)
        model, props = onnx.load(temporary), {p.key: p.value for p in onnx.load(path).metadata_props}
        onnx.helper.set_model_props(model, props)
        onnx.save_model(model, temporary)


def _plain_text(error: Exception) -> str:
    """Return the beginning of a message in one line, without the colours that exporters put into it."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())[:300]


def _prepare(
    pipeline: GSSPipeline, size: tuple[int, int], decode: str | None, score: str | None
) -> tuple[PipelineGraph, torch.Tensor]:
    height, width = check_graph_size(pipeline, size)
    return PipelineGraph(pipeline, decode=decode, score=score), torch.rand(1, 3, height, width)


@contextlib.contextmanager
def _constants(pipeline: GSSPipeline, graph: PipelineGraph, example: torch.Tensor) -> Iterator[None]:
    """Compute what depends on weights alone beforehand."""
    with contextlib.ExitStack() as stack, evaluation_mode([graph]), torch.no_grad():
        if pipeline.density is not None:
            stack.enter_context(pipeline.density.kept_forms())
        graph(example)
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep exporters from printing what they do."""
    names = ("torch.onnx", "onnxscript", "onnx_ir", "root")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
