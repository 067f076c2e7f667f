"""A pipeline as one file for other runtimes: ONNX and torch.export, checked against the pipeline on images."""

from typing import TYPE_CHECKING

from gss.core.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "gss.export.files": ["export_joint", "export_onnx", "export_pt2", "quantize"],
        "gss.export.runtime": ["OnnxJoint", "OnnxModel", "OnnxPipeline"],
        "gss.export.parity": ["Parity", "measure_parity"],
    },
)

if TYPE_CHECKING:
    from gss.export.files import export_joint as export_joint
    from gss.export.files import export_onnx as export_onnx
    from gss.export.files import export_pt2 as export_pt2
    from gss.export.files import quantize as quantize
    from gss.export.parity import Parity as Parity
    from gss.export.parity import measure_parity as measure_parity
    from gss.export.runtime import OnnxJoint as OnnxJoint
    from gss.export.runtime import OnnxModel as OnnxModel
    from gss.export.runtime import OnnxPipeline as OnnxPipeline
