"""Metrics of predictions against truth, as torchmetrics metrics whose states are exact integer counts."""

from typing import TYPE_CHECKING

from gss.core.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "gss.metrics.alarms": ["AlarmRate", "AlarmThreshold"],
        "gss.metrics.boundary": ["BoundaryF"],
        "gss.metrics.calibration": ["CalibrationError"],
        "gss.metrics.components": ["ComponentMetrics", "TrackRules"],
        "gss.metrics.domains": ["DomainMetrics"],
        "gss.metrics.hypotheses.energy": ["GeneralisedEnergyDistance"],
        "gss.metrics.hypotheses.matching": ["MatchedIoU", "ModeCalibration"],
        "gss.metrics.hypotheses.several": ["SeveralMasks"],
        "gss.metrics.hypotheses.uncertainty": ["UncertaintyQuality"],
        "gss.metrics.label_quality": ["LabelQuality"],
        "gss.metrics.layouts.neighbours": ["MaskDistances"],
        "gss.metrics.layouts.statistics": ["LayoutStatistics"],
        "gss.metrics.ood": ["OODMetrics"],
        "gss.metrics.open_set": ["OpenSetMetrics", "open_miou", "open_set_counts"],
        "gss.metrics.segmentation": ["SegmentationMetrics"],
    },
)

if TYPE_CHECKING:
    from gss.metrics.alarms import AlarmRate as AlarmRate
    from gss.metrics.alarms import AlarmThreshold as AlarmThreshold
    from gss.metrics.boundary import BoundaryF as BoundaryF
    from gss.metrics.calibration import CalibrationError as CalibrationError
    from gss.metrics.components import ComponentMetrics as ComponentMetrics
    from gss.metrics.components import TrackRules as TrackRules
    from gss.metrics.domains import DomainMetrics as DomainMetrics
    from gss.metrics.hypotheses.energy import GeneralisedEnergyDistance as GeneralisedEnergyDistance
    from gss.metrics.hypotheses.matching import MatchedIoU as MatchedIoU
    from gss.metrics.hypotheses.matching import ModeCalibration as ModeCalibration
    from gss.metrics.hypotheses.several import SeveralMasks as SeveralMasks
    from gss.metrics.hypotheses.uncertainty import UncertaintyQuality as UncertaintyQuality
    from gss.metrics.label_quality import LabelQuality as LabelQuality
    from gss.metrics.layouts.neighbours import MaskDistances as MaskDistances
    from gss.metrics.layouts.statistics import LayoutStatistics as LayoutStatistics
    from gss.metrics.ood import OODMetrics as OODMetrics
    from gss.metrics.open_set import OpenSetMetrics as OpenSetMetrics
    from gss.metrics.open_set import open_miou as open_miou
    from gss.metrics.open_set import open_set_counts as open_set_counts
    from gss.metrics.segmentation import SegmentationMetrics as SegmentationMetrics
