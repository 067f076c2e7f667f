"""Data of a run: the training split, plain and augmented, and the validation split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gss.config.shared import DataConfig
from gss.core.errors import InputError
from gss.data.datasets import SegmentationDataset
from gss.data.domains import DomainDataset, describe
from gss.data.files.patterns import files_remembered
from gss.data.open import build_dataset
from gss.data.protocols import LabelledImages
from gss.evaluation.checks import check_classes
from gss.training.engine.stage import Say, report


@dataclass(frozen=True)
class Splits:
    """Three views of the data that a configuration names.

    Attributes:
        plain: training images without augmentation.
        augmented: training images as the training sees them.
        val: validation images without augmentation; without `data.val_split` the plain training images.
    """

    plain: LabelledImages
    augmented: LabelledImages
    val: LabelledImages


def open_splits(
    data: DataConfig,
    *,
    seed: int,
    plain_as_read: bool = False,
    val_as_read: bool = False,
    val_optional: bool = False,
    classes: Sequence[str] | None = None,
) -> Splits:
    """Open the training and validation split.

    Args:
        data: settings of the data.
        seed: seed of the augmentation.
        plain_as_read: keep plain training images at the size of their files, whatever `data.size` says, for a
            pipeline that resizes by itself.
        val_as_read: the same for validation, whose masks are then compared at their own size.
        val_optional: accept an empty `data.val_split`, of a stage that can train without validation.
        classes: class names of the pipeline that the data is for.

    Raises:
        InputError: the splits have different classes, or others than `classes`, or `build_dataset` refuses them.
    """
    unaugmented = replace(data, cache=False)
    as_read = replace(unaugmented, size=None)
    with files_remembered():
        plain = build_dataset(as_read if plain_as_read else unaugmented, data.train_split, train=False)
        augmented = build_dataset(data, data.train_split, train=True, seed=seed)
        if val_optional and not data.val_split:
            val = plain
        else:
            val = build_dataset(as_read if val_as_read else unaugmented, data.val_split, train=False)
    if plain.label_space.names != val.label_space.names:
        raise InputError("training and validation split have different classes: check data.train_split, data.val_split")
    if classes is not None:
        check_classes(classes, plain.label_space.names)
    return Splits(plain, augmented, val)


def report_domains(dataset: LabelledImages, say: Say) -> None:
    """Say how often each domain of a mixture is read, or how a folder without a spec was understood."""
    if isinstance(dataset, DomainDataset):
        report(say, describe(dataset))
    elif isinstance(dataset, SegmentationDataset) and dataset.spec.note:
        report(say, f"data: {dataset.spec.root}: {dataset.spec.note}")
