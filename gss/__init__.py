"""Generative semantic segmentation: label maps become images, images become tokens, a prior predicts them.

Public names are imported on first use, so that `import gss` and `gss --help` never load torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# name -> module that defines it
_PUBLIC = {
    "CellLikelihood": "gss.likelihood",
    "GSSImageProcessor": "gss.image_processing",
    "GMMDensityHead": "gss.models.density",
    "GSSPipeline": "gss.pipeline",
    "GSSPriorConfig": "gss.models.prior",
    "GSSPriorModel": "gss.models.prior",
    "IGNORE_INDEX": "gss.labels",
    "LabelSpace": "gss.labels",
    "MaskigeCodec": "gss.maskige",
    "MaskigeVQModel": "vqvae",
    "OODMetrics": "gss.metrics.ood",
    "ResidualPatternHead": "gss.models.residual",
    "SegmentationDataset": "gss.data.datasets",
    "SegmentationMetrics": "gss.metrics.segmentation",
    "SegmentationOutput": "gss.outputs",
    "build_dataset": "gss.data.datasets",
    "load_spec": "gss.data.specs",
}

__all__ = [
    "__version__",
    "CellLikelihood",
    "GSSImageProcessor",
    "GMMDensityHead",
    "GSSPipeline",
    "GSSPriorConfig",
    "GSSPriorModel",
    "IGNORE_INDEX",
    "LabelSpace",
    "MaskigeCodec",
    "MaskigeVQModel",
    "OODMetrics",
    "ResidualPatternHead",
    "SegmentationDataset",
    "SegmentationMetrics",
    "SegmentationOutput",
    "build_dataset",
    "load_spec",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module and keep it for the next access."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'gss' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if TYPE_CHECKING:
    from gss.data.datasets import SegmentationDataset, build_dataset
    from gss.data.specs import load_spec
    from gss.image_processing import GSSImageProcessor
    from gss.labels import IGNORE_INDEX, LabelSpace
    from gss.likelihood import CellLikelihood
    from gss.maskige import MaskigeCodec
    from gss.metrics.ood import OODMetrics
    from gss.metrics.segmentation import SegmentationMetrics
    from gss.models.density import GMMDensityHead
    from gss.models.prior import GSSPriorConfig, GSSPriorModel
    from gss.models.residual import ResidualPatternHead
    from gss.outputs import SegmentationOutput
    from gss.pipeline import GSSPipeline
    from vqvae import MaskigeVQModel
