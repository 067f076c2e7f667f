"""What a pipeline was trained on, as its model card records it."""

from __future__ import annotations

import os
import re
from pathlib import Path

TRAINING_DATA = "## Training data"
NOT_RECORDED = "Not recorded."
# Words of a card and of a page about figures of images that were trained on.
SEEN, MAYBE_SEEN = "on the training images", "perhaps on the training images"


def training_record(data: str, split: str, *, images: int, steps: int, batch_size: int) -> str:
    """Return the line of a card that says what was trained on, for how long: `streets, split train (48 images, ...)`.

    Args:
        data: name of the data set.
        split: split that was trained on.
        images: number of images in it.
        steps: number of steps.
        batch_size: images a step.
    """
    return f"{data}, split {split} ({images} images, {steps} steps of {batch_size} images)"


def read_training_data(folder: str | os.PathLike[str]) -> str | None:
    """Return the training data that the card of a saved pipeline states; None without a card or a record.

    Args:
        folder: folder that `GSSPipeline.save_pretrained` wrote.

    Returns:
        Such as `streets, split train`: numbers of images and steps are left out, so that runs of other length compare.
    """
    card = Path(folder) / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    _, _, below = text.partition(f"\n{TRAINING_DATA}\n\n")
    recorded = re.sub(r" \(\d+ images, \d+ steps of \d+ images\)$", "", below.partition("\n")[0].strip())
    return recorded if recorded and recorded != NOT_RECORDED else None


def is_data(recorded: str, ref: str, name: str) -> bool:
    """Return whether the data set of a record is the one with this reference (path or name) and this name."""
    return recorded in (ref, name) or re.sub(r"\W+", "_", Path(recorded).stem) == name


def seen_in_training(folder: str | os.PathLike[str], ref: str, name: str, split: str) -> str:
    """Return `SEEN` if a pipeline was trained on a split, `MAYBE_SEEN` if its card does not say; else nothing.

    Args:
        folder: folder of the pipeline.
        ref: data set as it was named: a path or a built-in one.
        name: name of the data set.
        split: split of it.
    """
    own = split.rpartition(":")[2]
    data, found, trained = (read_training_data(folder) or "").partition(", split ")
    if found:
        return SEEN if is_data(data, ref, name) and own == trained.rpartition(":")[2] else ""
    return MAYBE_SEEN if own == "train" else ""
