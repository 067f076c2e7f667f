"""Inputs of `gss weak run`: a folder of images and one of labels as a data set, and what is measured on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gss.core.errors import InputError, quoted
from gss.core.files import read_text
from gss.core.sampling import evenly_spaced
from gss.core.yaml import read_yaml
from gss.data.datasets import SegmentationDataset
from gss.data.files import find_ids
from gss.data.images import IMAGE_SUFFIXES, image_size
from gss.data.open import open_split
from gss.data.protocols import LabelledImages
from gss.data.specs.labels import make_label_space
from gss.data.specs.load import builtin_specs, load_spec
from gss.data.specs.spec import FOLDER_SPEC, DataSpec, named_split
from gss.data.weak.formats import find_format
from gss.data.weak.source import WeakSource
from gss.evaluation.checks import check_classes
from gss.labels.space import IGNORE_INDEX, LabelSpace

_LARGEST = 192 * 256
_PEEK, _SIZES = 16, 64


@dataclass(frozen=True)
class RunInputs:
    """Labelled images of `gss weak run`: a data set, or folders of images and labels with a file of classes.

    Args:
        data: data spec with weak labels.
        root: folder of that data set.
        split: split of it to train on, `train` by default.
        images: folder of images.
        labels: folder or file of their labels.
        classes: file of class names.
        form: form of these labels, or "auto".
        val: `SPEC`, `SPEC:SPLIT`, a split of the data set, or "none": what is measured on.
        truth: `SPEC` or `SPEC:SPLIT` with full masks of the training images.
        size: (H, W) images are resized to.
    """

    data: str | None = None
    root: str | None = None
    split: str | None = None
    images: str | None = None
    labels: str | None = None
    classes: str | None = None
    form: str = "auto"
    val: str | None = None
    truth: str | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        folders = {"--images": self.images, "--labels": self.labels, "--classes": self.classes}
        given = [name for name, value in folders.items() if value]
        if bool(self.data) == bool(given):
            raise InputError("give one data set with weak labels, or --images, --labels and --classes in place of it")
        if given and len(given) < len(folders):
            absent = " and ".join(name for name in folders if name not in given)
            raise InputError(f"with {' and '.join(given)} give {absent} too")
        if given:
            spare, other = {"--root": self.root, "--split": self.split}, "--images and --labels"
        else:
            spare, other = (
                {"--form": self.form if self.form != "auto" else None},
                "a data set, whose own spec says how labels are read",
            )
        for name, value in spare.items():
            if value:
                raise InputError(f"{name} does not go with {other}")


def read_classes(path: str | Path) -> LabelSpace:
    """Classes from a file: a name a line, or YAML or JSON with names, names to colours, or a key `classes` of these.

    Raises:
        ValueError: unreadable, or no such content; names the file.
    """
    path = Path(path)
    try:
        if path.suffix.lower() not in (".yaml", ".yml", ".json"):
            lines = [line.strip() for line in read_text(path).splitlines()]
            return LabelSpace(tuple(line for line in lines if line))
        data = read_yaml(path)  # JSON is YAML
        classes = data["classes"] if isinstance(data, dict) and "classes" in data else data
        if isinstance(classes, dict) and all(str(key).isdigit() for key in classes):
            classes = [name for _, name in sorted(classes.items(), key=lambda item: int(item[0]))]
        for name in classes if isinstance(classes, list | dict) else ():
            if not isinstance(name, str):
                raise InputError(f"YAML reads a name as {quoted(name)}; put it in quotes")
        return make_label_space(classes)
    except InputError as error:
        raise InputError(f"classes {path}: {error}") from error


def images_spec(
    images: str | Path, labels: str | Path, space: LabelSpace, form: str, settings: Mapping[str, Any]
) -> tuple[DataSpec, dict[str, Any]]:
    """Describe a folder of images and labels as a data set; return its spec and the value of the key `weak`.

    Args:
        images: folder; an image is named by its path below it, without the ending.
        labels: file, or folder of files named as the images are.
        space: the classes.
        form: key of `FORM_FORMATS`, or "auto".
        settings: keys of `weak` that the user gives.

    Raises:
        ValueError: folders that are none, no images, or labels of an unknown format.
    """
    folder, place = Path(images).expanduser().resolve(), Path(labels).expanduser().resolve()
    if not folder.is_dir():
        raise InputError(f"--images {images} is no folder")
    if not place.exists():
        raise InputError(f"--labels {labels} does not exist")
    if (place / FOLDER_SPEC).is_file():
        raise InputError(f"--labels {labels} is a data set by itself: write gss weak run {labels}, without --images")
    if not find_ids(folder, "{id}.*"):
        raise InputError(f"--images {images} holds no image; endings are {', '.join(IMAGE_SUFFIXES)}")
    weak: dict[str, Any] = {
        "folder": str(place.parent if place.is_file() else place),
        **find_format(place, form, space),
    }
    if weak["format"] == "masks":
        if place == folder or folder in place.parents:
            raise InputError(f"--labels {labels} lies in --images {images}: masks would be taken for images; move them")
        if form in ("points", "scribbles"):
            weak["exhaustive"] = True  # every class of an image is clicked or scribbled
    weak |= settings
    if "folder" in settings:
        raise InputError("labels.folder is what --labels says")
    source = WeakSource.parse(weak, folder, space.names)
    name = f"{folder.name}_{weak['format']}"
    return DataSpec(name=name, label_space=space, image="{id}.*", root=folder, weak=source), weak


def is_tagged(dataset: LabelledImages) -> bool:
    """Whether weak labels are tags alone; looks at a few images."""
    if not isinstance(dataset, SegmentationDataset) or dataset.weak is None:
        return False
    chosen = evenly_spaced(len(dataset), _PEEK)
    if any((dataset.read(index)[1] != IGNORE_INDEX).any() for index in chosen):
        return False
    found = [dataset.read_weak(index)[0] for index in chosen]
    return any(weak is not None and weak.present().any() for weak in found)


def fitting_size(dataset: SegmentationDataset) -> tuple[tuple[int, int], bool]:
    """(H, W) that training works at, and whether images are resized to it.

    The median size of some images; if that is more than 192x256 pixels, so many in its shape, with sides in multiples
    of 32.
    """
    chosen = evenly_spaced(len(dataset), _SIZES)
    height, width = np.median([image_size(dataset.samples[index].image) for index in chosen], axis=0)
    shrink = (_LARGEST / (height * width)) ** 0.5
    if shrink >= 1:
        return (int(height), int(width)), False
    return (max(32, round(height * shrink / 32) * 32), max(32, round(width * shrink / 32) * 32)), True


def absolute(ref: str) -> str:
    """Return a data spec in a form that is found from any working folder."""
    return ref if ref in builtin_specs() or not Path(ref).exists() else str(Path(ref).resolve())


@dataclass(frozen=True)
class Measured:
    """Images that the result is measured on.

    Attributes:
        dataset: with full masks, or weak labels drawn into pixels.
        name: of data set and split.
        full: masks are full.
        split: value of `data.val_split` in training on pseudo-masks; "" when masks are not full.
        teacher_split: the same for the teacher.
    """

    dataset: LabelledImages
    name: str
    full: bool
    split: str = ""
    teacher_split: str = ""


def choose_measured(text: str | None, spec: DataSpec, split: str) -> Measured | None:
    """Images for validation.

    Args:
        text: `SPEC`, `SPEC:SPLIT`, a split of the weakly labelled data set, or none; by default its split `val`.
        spec: the weakly labelled data set.
        split: of it that is trained on.

    Raises:
        ValueError: unknown, the same images as are trained on, or other classes.
    """
    if text == "none":
        return None
    own = [*spec.available_splits(), *(["train", "val"] if spec.undivided else [])]
    if text is None and ("val" not in own or split in ("val", "all")):
        return None
    if text is None or (text in own and named_split(text) is None):
        return _own_split(spec, text or "val", split, asked=text is not None)
    ref, part = named_split(text) or (text, "")
    other = load_spec(ref)
    if not part:
        splits = other.available_splits()
        part = next((name for name in ("val", "test", "all") if name in splits), splits[0] if splits else "val")
    if other.weakly_labelled(part):
        raise InputError(f"--val {text}: split {part!r} of {other.name!r} has weak labels; give one with full masks")
    dataset = open_split(other, part)
    try:
        check_classes(spec.label_space.names, dataset.label_space.names, model="the weak labels", trained=False)
    except InputError as error:
        raise InputError(f"--val {text}: {error}") from error
    named = f"{absolute(ref)}:{part}"
    return Measured(dataset, f"{other.name} {part}", True, named, named)


def _own_split(spec: DataSpec, part: str, trained: str, *, asked: bool) -> Measured | None:
    if part == trained:
        raise InputError(f"--val {part}: this split is trained on; choose another, or none")
    weak = spec.weak is not None and spec.weak.covers(part)
    if spec.mask:
        whole = replace(spec, weak=None)
        if not weak or not any(sample.missing for sample in whole.samples(part)):
            return Measured(open_split(whole, part), f"{spec.name} {part}", True, part, "" if weak else part)
    if not weak:
        if asked:
            raise InputError(f"--val {part}: data set {spec.name!r} has neither masks nor weak labels there")
        return None
    dataset = open_split(spec, part)
    return None if is_tagged(dataset) else Measured(dataset, f"{spec.name} {part}", False)


def open_truth(text: str | None, spec: DataSpec, dataset: SegmentationDataset) -> LabelledImages | None:
    """Full masks of weakly labelled images: a `SPEC` or `SPEC:SPLIT`, else the masks of their own data set, if any."""
    if text is not None:
        ref, part = named_split(text) or (text, dataset.split)
        truth = load_spec(ref)
        if truth.weakly_labelled(part):
            raise InputError(f"--truth {text}: split {part!r} has weak labels; give the data set with full masks")
        return open_split(truth, part)
    if dataset.weak is None or not spec.mask:
        return None
    whole, wanted = replace(spec, weak=None), set(dataset.ids)
    samples = {sample.id: sample for sample in whole.samples(dataset.split)}
    if any(id not in samples or samples[id].missing for id in wanted):
        return None
    return open_split(whole, dataset.split)
