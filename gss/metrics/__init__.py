"""Streaming metrics whose state is a sum, so that processes and data shards merge exactly."""

from typing import TYPE_CHECKING

from gss.core.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "gss.metrics.components": ["ComponentMetrics", "TrackRules"],
        "gss.metrics.ood": ["OODMetrics"],
        "gss.metrics.open_set": ["open_miou", "open_set_counts"],
        "gss.metrics.segmentation": ["SegmentationMetrics"],
    },
)

if TYPE_CHECKING:
    from gss.metrics.components import ComponentMetrics as ComponentMetrics
    from gss.metrics.components import TrackRules as TrackRules
    from gss.metrics.ood import OODMetrics as OODMetrics
    from gss.metrics.open_set import open_miou as open_miou
    from gss.metrics.open_set import open_set_counts as open_set_counts
    from gss.metrics.segmentation import SegmentationMetrics as SegmentationMetrics
