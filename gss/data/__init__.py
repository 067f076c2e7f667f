"""Data sets: specs, reading, joint transforms, shifts, generated scenes and outliers."""

from typing import TYPE_CHECKING

from gss.core.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "gss.data.datasets": ["SegmentationDataset"],
        "gss.data.generated": ["ScenesDataset"],
        "gss.data.mapping": ["find_mapping"],
        "gss.data.open": ["build_dataset", "open_split"],
        "gss.data.outliers.benchmarks": ["open_ood"],
        "gss.data.shifts.apply": ["ShiftedImages"],
        "gss.data.specs.load": ["load_spec"],
        "gss.data.transforms": ["JointTransform"],
    },
)

if TYPE_CHECKING:
    from gss.data.datasets import SegmentationDataset as SegmentationDataset
    from gss.data.generated import ScenesDataset as ScenesDataset
    from gss.data.mapping import find_mapping as find_mapping
    from gss.data.open import build_dataset as build_dataset
    from gss.data.open import open_split as open_split
    from gss.data.outliers.benchmarks import open_ood as open_ood
    from gss.data.shifts.apply import ShiftedImages as ShiftedImages
    from gss.data.specs.load import load_spec as load_spec
    from gss.data.transforms import JointTransform as JointTransform
