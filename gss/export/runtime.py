"""An exported file in ONNX Runtime, by itself or as the network of a pipeline."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gss.core.errors import InputError
from gss.export.files import METADATA
from gss.export.graph import FORMAT, INPUT
from gss.export.joint import FEATURES, TOKENS, image_context
from gss.models.joint import JointContext, JointPriorOutput
from gss.pipeline.masks import MaskRows
from gss.pipeline.pipeline import GSSPipeline
from gss.pipeline.windows import Dense

_KEYS = ("size", "outputs", "decode", "score", "labels", "weights", "multiple")
_JOINT_KEYS = ("size", "outputs", "labels", "weights", "mask_token")


class OnnxModel:
    """A file of `gss export` in ONNX Runtime.

    Args:
        path: the file.
        threads: threads of one run; 0 takes those of torch.

    Attributes:
        facts: what the file says about itself, see `gss.export.graph.graph_facts`.
        size: (H, W) of the image.

    Raises:
        InputError: no such file, no ONNX file, one of another program or version, or ONNX Runtime is missing.
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int = 0) -> None:
        self.path = Path(path)
        self._session, self.facts = _load(self.path, "pipeline", threads)
        self.size: tuple[int, int] = (int(self.facts["size"][0]), int(self.facts["size"][1]))

    def run(self, image: Tensor) -> dict[str, Tensor]:
        """Return the outputs of an image `[1, 3, H, W]` in [0, 1] by name, see `PipelineGraph.forward`."""
        values = self._session.run(None, {INPUT: np.ascontiguousarray(image.numpy(), dtype=np.float32)})
        return {name: torch.from_numpy(value) for name, value in zip(self.facts["outputs"], values, strict=True)}

    def dense(self, images: Tensor) -> Dense:
        """Return the maps of images `[B, 3, h, w]` of at most the size of the file; the border is repeated."""
        height, width = images.shape[-2:]
        maps: dict[str, list[Tensor]] = {self.facts["decode"]: [], self.facts["score"]: []}
        for image in images:
            below, right = self.size[0] - height, self.size[1] - width
            padded = torch.nn.functional.pad(image[None], (0, right, 0, below), mode="replicate")
            out = self.run(padded)
            maps[self.facts["decode"]].append(out["probabilities"][0, :, :height, :width])
            maps[self.facts["score"]].append(out["ood"][:, :height, :width])
        return Dense({name: torch.stack(values) for name, values in maps.items()}, None)


class OnnxPipeline(GSSPipeline):
    """Pipeline whose network runs in ONNX Runtime.

    Images that are larger than the file's at the resolution of the pipeline are segmented window by window. There are
    the decode mode and the score of the file, and neither tokens nor maskiges.
    """

    model: OnnxModel

    @classmethod
    def wrap(cls, pipeline: GSSPipeline, model: OnnxModel, *, weights: str = "") -> OnnxPipeline:
        """Return a pipeline with the components of another and the network of a file.

        Args:
            pipeline: pipeline that the file was exported from.
            model: the file.
            weights: digest of the pipeline's files; empty if it is not known.

        Raises:
            InputError: the file was exported from another pipeline.
        """
        labels = [pipeline.id2label[index] for index in sorted(pipeline.id2label)]
        if model.facts["labels"] != labels or (weights and model.facts["weights"] not in ("", weights)):
            raise InputError(f"{model.path} was exported from another pipeline: export this one anew")
        made = cls(**pipeline.components)
        made.model = model
        made.set_progress_bar_config(disable=True)
        return made

    @property
    def decode_modes(self) -> tuple[str, ...]:
        """Decode mode of the file."""
        return (self.model.facts["decode"],)

    @property
    def default_decode(self) -> str:
        """Decode mode of the file."""
        return self.model.facts["decode"]

    @property
    def has_maskiges(self) -> bool:
        """False, as there are no tokens to paint."""
        return False

    @property
    def score_names(self) -> tuple[str, ...]:
        """Score of the file."""
        return (self.model.facts["score"],)

    @property
    def default_score(self) -> str:
        """Score of the file."""
        return self.model.facts["score"]

    def check_inputs(self, modes: Sequence[str], **options: Any) -> Any:
        """Check arguments, see `GSSPipeline.check_inputs`; windows have the size of the file."""
        return super().check_inputs(modes, **{**options, "window": "slide", "window_size": self.model.size})

    def check_scores(self, names: Sequence[str]) -> None:
        """Check names of scores, see `GSSPipeline.check_scores`."""
        for name in names:
            if name not in self.score_names:
                raise InputError(f"score {name!r} is not in {self.model.path}, which has {self.default_score}")

    def _build_scores(self, names: Sequence[str]) -> dict[str, Any]:
        self.check_scores(names)
        return dict.fromkeys(names)

    def _chosen_reader(self, exact: bool | None) -> Any:
        return _OnnxReader(self.model)


class _OnnxReader:
    """A file in the place of `gss.pipeline.reading.Reader`."""

    def __init__(self, model: OnnxModel) -> None:
        self.model = model

    def dense(
        self,
        images: Tensor,
        modes: Sequence[str],
        scores: Mapping[str, Any],
        *,
        with_tokens: bool,
        masks: tuple[str, Sequence[MaskRows]] | None = None,
    ) -> Dense:
        """Compute maps and masks, as `Reader.dense`; there are no tokens."""
        maps = self.model.dense(images).maps
        for probabilities, mask in zip(maps[masks[0]], masks[1], strict=True) if masks else ():
            mask.add(probabilities)
        return Dense({name: maps[name] for name in (*modes, *scores)}, None)


class OnnxJoint:
    """The two files of a joint prior in ONNX Runtime, in the place of `JointPriorModel` where masks are drawn.

    Args:
        encode: file that runs once an image.
        step: file that runs once a step.
        threads: threads of one run; 0 takes those of torch.

    Attributes:
        facts: what the file of the steps says about itself, see `gss.export.joint.joint_facts`.
        size: (H, W) of the image.
        mask_token: V, the token of unknown cells.

    Raises:
        InputError: see `OnnxModel`; or the files are not of one export.
    """

    def __init__(self, encode: str | os.PathLike[str], step: str | os.PathLike[str], *, threads: int = 0) -> None:
        self._encode, first = _load(Path(encode), "encode", threads)
        self._step, self.facts = _load(Path(step), "step", threads)
        for key in ("size", "mask_token", "labels", "weights"):
            if first[key] != self.facts[key]:
                raise InputError(f"{encode} and {step} differ in {key}: export both at once")
        self.size: tuple[int, int] = (int(first["size"][0]), int(first["size"][1]))
        self.mask_token: int = self.facts["mask_token"]

    def encode(self, image: Tensor) -> JointContext:
        """Return what every step reads of an image `[1, 3, H, W]` in [0, 1]."""
        values = self._encode.run(None, {INPUT: np.ascontiguousarray(image.numpy(), dtype=np.float32)})
        return image_context({name: torch.from_numpy(value) for name, value in zip(FEATURES, values, strict=True)})

    def __call__(self, tokens: Tensor, context: JointContext, *, cells: Tensor | None = None) -> JointPriorOutput:
        """Return token logits of cells given the known ones, see `JointPriorModel.forward`; the file computes all."""
        rows = []
        for index in range(len(tokens)):
            inputs = {TOKENS: tokens[index : index + 1].numpy()}
            for name in FEATURES:
                part = getattr(context, name)
                inputs[name] = (part if len(part) == 1 else part[index : index + 1]).numpy()
            rows.append(torch.from_numpy(self._step.run(None, inputs)[0]))
        logits = torch.cat(rows)
        if cells is not None:
            logits = logits.flatten(2).gather(2, cells[:, None].expand(-1, logits.shape[1], -1))
        return JointPriorOutput(token_logits=logits)


def _load(path: Path, kind: str, threads: int) -> tuple[Any, dict[str, Any]]:
    """Return the session of a file, and what it says about itself.

    Args:
        path: the file.
        kind: "pipeline", "encode" or "step".
        threads: threads of one run; 0 takes those of torch.
    """
    if not path.is_file():
        joint = "" if kind == "pipeline" else " --joint"
        made = path if kind == "pipeline" else path.name.replace(f".{kind}.", ".")
        raise InputError(f"no file {path}: 'gss export PIPELINE --onnx {made}{joint} --size HxW' makes it")
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("ONNX files need ONNX Runtime: pip install 'gss[export]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has no base class of its errors
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{path} cannot be loaded by ONNX Runtime {onnxruntime.__version__}: it is damaged, or of another version; "
            f"export the pipeline anew ({reason})"
        ) from error
    return session, _facts(path, session.get_modelmeta().custom_metadata_map, kind)


def _facts(path: Path, metadata: Mapping[str, str], kind: str) -> dict[str, Any]:
    """Return the facts in the metadata of a file."""
    try:
        facts = json.loads(metadata[METADATA])
    except (KeyError, ValueError) as error:
        raise InputError(f"{path} is not a file of 'gss export': it does not name its classes") from error
    found = facts.get("format") if isinstance(facts, dict) else None
    is_kind = facts.get("kind", "pipeline") if found == FORMAT else kind
    if is_kind != kind:
        raise InputError(f"{path} holds the {is_kind} of an export, not its {kind}: name another file")
    if found != FORMAT or not all(key in facts for key in (_KEYS if kind == "pipeline" else _JOINT_KEYS)):
        raise InputError(f"{path} has format {found}, this version of gss reads {FORMAT}: export the pipeline anew")
    return facts
