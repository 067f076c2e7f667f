"""Segmentation on many machines with Ray Data; inputs and outputs on any file system of fsspec."""

from typing import TYPE_CHECKING

from gss.core.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "gss.integrations.ray.run": ["Job", "predict_source"],
        "gss.integrations.ray.segment": ["SegmentBatch"],
    },
)

if TYPE_CHECKING:
    from gss.integrations.ray.run import Job as Job
    from gss.integrations.ray.run import predict_source as predict_source
    from gss.integrations.ray.segment import SegmentBatch as SegmentBatch
