"""Objects, scenes and mixed images of a configuration for outlier training."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from gss.config.residual import ResidualConfig
from gss.core.errors import InputError
from gss.core.sampling import evenly_spaced
from gss.data.open import build_dataset
from gss.data.outliers.mixing import MixedImages, Mixer
from gss.data.outliers.objects import Objects, check_unknown, fingerprint, open_objects
from gss.data.outliers.scenes import ForeignScenes, open_scenes
from gss.labels.space import OUTLIER_LABEL
from gss.report.pictures import contact_sheet, legend, overlay

_ROWS = 8
_OUTLIER_COLOR = (255, 90, 0)


@dataclass(frozen=True)
class Sources:
    """Objects and scenes of a configuration.

    Attributes:
        train: objects to train on.
        val: objects to validate on.
        scenes: foreign scenes, if any.
    """

    train: Objects
    val: Objects
    scenes: ForeignScenes | None

    @property
    def ids(self) -> str:
        """Fingerprint of all ids."""
        return fingerprint(self.train.ids, self.val.ids, [] if self.scenes is None else self.scenes.ids)


def _same_place(first: str, second: str) -> bool:
    """Return whether two spellings are of one file or folder."""
    return os.path.exists(first) and os.path.exists(second) and os.path.samefile(first, second)


def open_sources(cfg: ResidualConfig) -> Sources:
    """Open the objects and scenes of a configuration.

    Raises:
        InputError: none are named, some cannot be read, or objects to validate on are among those trained on.
    """
    outliers, context = cfg.outliers, cfg.context
    if not outliers.objects:
        raise InputError("outliers.objects='' is empty: set it to a folder of objects, a COCO file or scenes_unknown")
    source = outliers.val_objects or outliers.objects
    same = source == outliers.objects or _same_place(source, outliers.objects)
    images = outliers.val_images or (outliers.images if same else "")
    options: dict[str, Any] = {"exclude": outliers.exclude, "min_pixels": outliers.min_pixels}
    train = open_objects(outliers.objects, outliers.split, images=outliers.images, **options)
    val = open_objects(source, outliers.val_split, images=images, **options)
    if same and (shared := set(train.ids) & set(val.ids)):
        raise InputError(
            f"{len(shared)} objects are trained and validated on, such as {min(shared)}: set outliers.val_split to a "
            f"split that shares none with {outliers.split!r}, or outliers.val_objects to another source"
        )
    scenes = None
    if context.source:
        names = [name.strip() for name in context.objects.split(",") if name.strip()]
        scenes = open_scenes(
            context.source, context.split, images=context.images, objects=names, exclude=outliers.exclude
        )
    return Sources(train, val, scenes)


def build_mixer(cfg: ResidualConfig, objects: Objects, *, train: bool) -> Mixer:
    """Return the mixer of a configuration; validation mixes every image and does not change the objects."""
    outliers = cfg.outliers
    return Mixer(
        objects,
        count=(outliers.count[0], outliers.count[1]),
        size=(outliers.size[0], outliers.size[1]),
        depth=outliers.depth,
        feather=outliers.feather,
        probability=outliers.probability if train else 1.0,
        flip=cfg.data.flip if train else 0.0,
        photometric=cfg.data.photometric if train else 0.0,
    )


def build_mixed(cfg: ResidualConfig, sources: Sources) -> MixedImages:
    """Return the training images of a configuration.

    Raises:
        InputError: an object is of a class of the data set, or label 254 is a class.
    """
    base = build_dataset(cfg.data, cfg.data.train_split, train=True, seed=cfg.train.seed)
    for objects in (sources.train, sources.val):
        check_unknown(objects, base.label_space.names)
    mixer = build_mixer(cfg, sources.train, train=True)
    crop = cfg.data.crop[0], cfg.data.crop[1]
    return MixedImages(base, mixer, scenes=sources.scenes, crop=crop, seed=cfg.train.seed)


def draw_sheet(dataset: MixedImages, rows: int = _ROWS) -> Image.Image:
    """Return a contact sheet of mixed images with their labels, and of the foreign scenes beside them."""
    space = dataset.label_space
    colors = np.zeros((OUTLIER_LABEL + 1, 3), np.uint8)
    colors[: space.num_classes] = space.colors
    colors[OUTLIER_LABEL] = _OUTLIER_COLOR
    foreign = colors.copy()
    foreign[0] = (60, 100, 160)
    pictures, captions = [], []
    for index in evenly_spaced(len(dataset), rows):
        sample = dataset[index]
        row = []
        for kind, table in (("", colors), ("context_", foreign)):
            ground = () if kind else space.background
            if f"{kind}image" in sample:
                pixels = (sample[f"{kind}image"] * 255).round().byte().permute(1, 2, 0).numpy()
                labels = sample[f"{kind}labels"].numpy().astype(np.uint8)
                row += [Image.fromarray(pixels), overlay(Image.fromarray(pixels), labels, table, clear=ground)]
        pictures.append(row)
        share = float((sample["labels"] == OUTLIER_LABEL).float().mean())
        captions.append(f"{sample['id']}: {100 * share:.1f} % pasted")
    titles = ["image", "labels", "foreign scene", "its labels"][: len(pictures[0])]
    sheet = contact_sheet(pictures, titles, captions=captions, width=320)
    key = legend([*space.names, "pasted"], [*space.colors, _OUTLIER_COLOR], width=sheet.width)
    page = Image.new("RGB", (sheet.width, sheet.height + key.height), "white")
    page.paste(sheet, (0, 0))
    page.paste(key, (0, sheet.height))
    return page
