"""From an image to a mask: preprocessing, windows, decoding, outputs."""

from typing import TYPE_CHECKING

from gss.core.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "gss.pipeline.loading": ["load_pipeline"],
        "gss.pipeline.outputs": ["SegmentationOutput"],
        "gss.pipeline.pipeline": ["GSSPipeline"],
        "gss.pipeline.processor": ["GSSImageProcessor"],
        "gss.pipeline.sampling.outputs": ["CompletionOutput", "GeneratedOutput", "HypothesesOutput"],
        "gss.pipeline.sampling.scheduler": ["TokenScheduler"],
    },
)

if TYPE_CHECKING:
    from gss.pipeline.loading import load_pipeline as load_pipeline
    from gss.pipeline.outputs import SegmentationOutput as SegmentationOutput
    from gss.pipeline.pipeline import GSSPipeline as GSSPipeline
    from gss.pipeline.processor import GSSImageProcessor as GSSImageProcessor
    from gss.pipeline.sampling.outputs import CompletionOutput as CompletionOutput
    from gss.pipeline.sampling.outputs import GeneratedOutput as GeneratedOutput
    from gss.pipeline.sampling.outputs import HypothesesOutput as HypothesesOutput
    from gss.pipeline.sampling.scheduler import TokenScheduler as TokenScheduler
