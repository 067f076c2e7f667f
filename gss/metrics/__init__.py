"""Streaming metrics whose state is a sum, so that processes and data shards merge exactly."""

from gss.metrics.segmentation import SegmentationMetrics

__all__ = ["SegmentationMetrics"]
