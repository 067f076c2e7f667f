"""Streaming metrics whose state is a sum, so that processes and data shards merge exactly."""

from gss.metrics.components import ComponentMetrics
from gss.metrics.ood import OODMetrics
from gss.metrics.segmentation import SegmentationMetrics

__all__ = ["ComponentMetrics", "OODMetrics", "SegmentationMetrics"]
