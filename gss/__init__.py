"""Generative semantic segmentation: label maps become images, images become tokens, a prior predicts them.

Public names are imported on first use, so that `import gss` and `gss --help` never load torch.
"""

from typing import TYPE_CHECKING

from gss.core.lazy import lazy_names

__version__ = "0.1.0"

_names, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "gss.data.datasets": ["SegmentationDataset"],
        "gss.data.open": ["build_dataset"],
        "gss.data.specs.load": ["load_spec"],
        "gss.labels.space": ["IGNORE_INDEX", "LabelSpace"],
        "gss.metrics.ood": ["OODMetrics"],
        "gss.metrics.segmentation": ["SegmentationMetrics"],
        "gss.models.density": ["GMMDensityHead"],
        "gss.models.config": ["GSSPriorConfig"],
        "gss.models.prior": ["GSSPriorModel"],
        "gss.models.residual": ["ResidualPatternHead"],
        "gss.pipeline.auto.register": ["register"],
        "gss.pipeline.outputs": ["SegmentationOutput"],
        "gss.pipeline.pipeline": ["GSSPipeline"],
        "gss.pipeline.processor": ["GSSImageProcessor"],
        "gss.posterior.codec": ["MaskigeCodec"],
        "gss.posterior.likelihood": ["CellLikelihood"],
        "vqvae": ["MaskigeVQModel"],
    },
)

__all__ = ["__version__", *_names]

if TYPE_CHECKING:
    from gss.data.datasets import SegmentationDataset as SegmentationDataset
    from gss.data.open import build_dataset as build_dataset
    from gss.data.specs.load import load_spec as load_spec
    from gss.labels.space import IGNORE_INDEX as IGNORE_INDEX
    from gss.labels.space import LabelSpace as LabelSpace
    from gss.metrics.ood import OODMetrics as OODMetrics
    from gss.metrics.segmentation import SegmentationMetrics as SegmentationMetrics
    from gss.models.config import GSSPriorConfig as GSSPriorConfig
    from gss.models.density import GMMDensityHead as GMMDensityHead
    from gss.models.prior import GSSPriorModel as GSSPriorModel
    from gss.models.residual import ResidualPatternHead as ResidualPatternHead
    from gss.pipeline.auto.register import register as register
    from gss.pipeline.outputs import SegmentationOutput as SegmentationOutput
    from gss.pipeline.pipeline import GSSPipeline as GSSPipeline
    from gss.pipeline.processor import GSSImageProcessor as GSSImageProcessor
    from gss.posterior.codec import MaskigeCodec as MaskigeCodec
    from gss.posterior.likelihood import CellLikelihood as CellLikelihood
    from vqvae import MaskigeVQModel as MaskigeVQModel
