"""Folders as data sets: a spec `data.yaml` that replaces the labels of another data set by those in the folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from tqdm import tqdm

from gss.core import distributed
from gss.core.errors import InputError
from gss.core.files import atomic_path
from gss.data.label_map import LabelMap
from gss.data.open import open_split
from gss.data.protocols import LabelledImages
from gss.data.specs.spec import FOLDER_SPEC, DataSpec
from gss.data.weak.pictures import save_mask
from gss.report.pictures import save_picture


def write_spec(folder: Path, spec: DataSpec, *, name: str, split: str = "", weak: dict[str, Any] | None = None) -> None:
    """Write `data.yaml`: the data set `spec`, where a split has the labels in `folder`.

    Args:
        folder: folder of the labels.
        spec: data set from files, with a root.
        name: name of the new data set.
        split: split of the labels.
        weak: value of the key `weak`; `folder` and `splits` are added unless given. None keeps the labels of `spec`.
    """
    root, classes = spec.folder().resolve(), spec.label_space
    data: dict[str, Any] = {
        "name": name,
        "root": "." if root == folder.resolve() else str(root),
        "image": spec.image,
        "classes": dict(zip(classes.names, map(list, classes.colors), strict=True)),
    }
    if spec.mask:
        data |= {"mask": spec.mask, **_meaning(spec.label_map)}
    if spec.panoptic is not None:
        data["panoptic"] = spec.panoptic
    if spec.list_file is not None:
        data["list"] = spec.list_file
    if spec.splits:
        data["splits"] = dict(spec.splits)
    if weak is not None:
        data["weak"] = {"folder": ".", "splits": [split], **weak}
    with atomic_path(folder / FOLDER_SPEC) as temporary:
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
        temporary.write_text(text, encoding="utf-8")


def _meaning(label_map: LabelMap) -> dict[str, Any]:
    """Return a label map as keys of a spec."""

    def raw(value: int) -> Any:
        return [value >> 16, value >> 8 & 255, value & 255] if label_map.color_coded else value

    keys: dict[str, Any] = {"label_map": [[raw(value) for value in values] for values in label_map.values]}
    keys["ignore"] = [raw(value) for value in label_map.ignore]
    if label_map.unlisted != "error":
        keys["unlisted"] = label_map.unlisted
    if label_map.color_coded:
        keys["color_coded"] = True
    return keys


def require_files(spec: DataSpec) -> None:
    """Refuse data sets whose images are not files of their own: generated ones and mixtures."""
    if spec.domains:
        raise InputError(f"data set {spec.name!r} is a mixture of domains: give the spec of one of them here")
    if spec.generator is not None:
        raise InputError(f"data set {spec.name!r} is generated; labels of images need images in files")


def materialise(spec: DataSpec, folder: Path) -> DataSpec:
    """Write the images and masks of a generated data set into a folder and return a spec of the files.

    Other data sets are returned unchanged. Processes share the work.
    """
    if spec.generator is None:
        require_files(spec)
        return spec
    for split in spec.available_splits():
        dataset = open_split(spec, split)
        for index in tqdm(distributed.shard(len(dataset)), desc=f"writing {split}", unit="img", disable=None):
            image, labels = dataset.read(index)
            save_picture(folder / "images" / split / f"{dataset.ids[index]}.png", Image.fromarray(np.asarray(image)))
            save_mask(folder / "truth" / split / f"{dataset.ids[index]}.png", labels, spec.label_space)
    distributed.barrier()
    return DataSpec(
        name=spec.name,
        label_space=spec.label_space,
        label_map=LabelMap(tuple((k,) for k in range(spec.label_space.num_classes))),
        image="images/{split}/{id}.png",
        mask="truth/{split}/{id}.png",
        splits=dict(spec.splits),
        root=folder,
    )


def open_labelled(spec: DataSpec, split: str) -> LabelledImages:
    """Open a split with full masks; weak labels are refused."""
    if spec.weakly_labelled(split):
        raise InputError(
            f"split {split!r} of data set {spec.name!r} has weak labels; give the data set with full masks"
        )
    return open_split(spec, split)
