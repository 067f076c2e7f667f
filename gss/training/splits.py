"""The data of a run: the training split, plain and augmented, and the validation split."""

from __future__ import annotations

import dataclasses

from gss.config.shared import DataConfig
from gss.core.errors import InputError
from gss.data.open import build_dataset
from gss.data.protocols import LabelledImages


@dataclasses.dataclass(frozen=True)
class Splits:
    """Three views of the data a configuration names.

    Attributes:
        plain: training images without augmentation.
        augmented: training images as training sees them.
        val: validation images without augmentation.
    """

    plain: LabelledImages
    augmented: LabelledImages
    val: LabelledImages


def open_splits(data: DataConfig, *, seed: int, plain_as_read: bool = False, val_as_read: bool = False) -> Splits:
    """Opens the training and validation split.

    Args:
        data: its configuration.
        seed: of the augmentation.
        plain_as_read: plain training images keep the size of their files, whatever `data.size` says: a pipeline
            resizes by itself.
        val_as_read: the same for validation, whose masks are then compared at their own size.

    Raises:
        ValueError: the splits have different classes, or what `build_dataset` refuses.
    """
    unaugmented = dataclasses.replace(data, cache=False)
    as_read = dataclasses.replace(unaugmented, size=None)
    splits = Splits(
        plain=build_dataset(as_read if plain_as_read else unaugmented, data.train_split, train=False),
        augmented=build_dataset(data, data.train_split, train=True, seed=seed),
        val=build_dataset(as_read if val_as_read else unaugmented, data.val_split, train=False),
    )
    if splits.plain.label_space.names != splits.val.label_space.names:
        raise InputError("training and validation split have different classes: check data.train_split, data.val_split")
    return splits
