"""Data sets with outlier labels: 0 in-distribution, 1 out-of-distribution, 255 void."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from PIL import Image

from gss.core.errors import InputError, quoted
from gss.data.datasets import SegmentationDataset
from gss.data.files import Sample, find_files
from gss.data.generated import ScenesDataset
from gss.data.images import IMAGE_SUFFIXES, MASK_SUFFIXES
from gss.data.open import open_split
from gss.data.specs.load import builtin_specs, load_spec
from gss.data.specs.spec import DataSpec, FindFiles
from gss.labels.space import IGNORE_INDEX, LabelSpace

OOD_LABELS = LabelSpace(("in", "out"), ((60, 100, 160), (255, 90, 0)))
"""Label space of every `OODDataset`."""

_USUAL_SPLITS: tuple[str, ...] = ("val", "test", "all")

_NUMBERED = ("fishyscapes_lostandfound", "fishyscapes_static")
"""Benchmarks whose labels are called NNNN_FRAME and whose images belong to another data set."""

# Frames of a folder that do not belong to the published split, by the start of the file name.
_LEFT_OUT = {
    ("smiyc_obstacle21", "val"): ("validation_19", *(f"validation_{number}" for number in range(21, 30))),
    ("smiyc_obstacle21", "test"): ("validation", "driveway", "snowstorm1", "snowstorm2"),
    # Scenes with children and bicycles, which are classes of Cityscapes.
    ("lost_and_found", "test_noknown"): (
        *("15_Rechbergstr_Deckenpfronn", "01_Hanns_Klemm_Str_45_000006", "01_Hanns_Klemm_Str_45_000007"),
        "10_Schlossberg_9_000004",
    ),
}


@dataclass(frozen=True)
class _BenchmarkSpec(DataSpec):
    """Spec with the frames of the published benchmark of its name."""

    def samples(self, split: str, *, find: FindFiles = find_files) -> list[Sample]:
        if self.name in _NUMBERED:
            return self._numbered(split)
        part = self.splits.get(split, split)
        # Where the split is the beginning of the file name, the whole name is the id.
        begin = part if "{split}{id}" in self.image else ""
        left_out = _LEFT_OUT.get((self.name, split), ())
        samples = [replace(sample, id=begin + sample.id) for sample in super().samples(split, find=find)]
        return [sample for sample in samples if not sample.id.rpartition("/")[2].startswith(left_out)]

    def _numbered(self, split: str) -> list[Sample]:
        root = self.folder()
        self.check_split(split)
        mask = self.mask.replace("{split}", self.splits.get(split, split))
        masks = find_files(root, mask, MASK_SUFFIXES)
        if not masks:
            raise InputError(f"split {split!r} of data set {self.name!r} is empty: no labels {root / mask}")
        images = {id.rpartition("/")[2]: path for id, path in find_files(root, self.image, IMAGE_SUFFIXES).items()}
        samples = []
        for id, path in sorted(masks.items()):
            frame = id.partition("_")[2]
            expected = root / self.image.replace("{id}", f"*/{frame}")
            samples.append(Sample(id, images.get(frame, expected), path, () if frame in images else ("image",)))
        return samples


class OODDataset:
    """One split of a data set with outlier labels instead of its classes.

    Outliers are

    - the classes in `outliers`; all others are in-distribution. Classes left out of training become outliers this way;
    - otherwise the second class of a spec with two classes (the benchmarks, and folders with the same labels);
    - in generated scenes, the objects of no known class, and those in `outliers`.

    A frame without labels is an error, because benchmarks do not publish the labels of their test frames.

    Args:
        spec: data spec; generated scenes need `unknown: true` or `outliers`.
        split: name of the split.
        outliers: names of classes of the spec.

    Attributes:
        known_names: K in-distribution classes, in the order of the spec.
        outlier_names: classes that are outliers; empty if only objects of no class are.
        labelled: the images with the classes of the spec.

    Raises:
        InputError: outliers are not defined, unknown class, all classes are outliers, unknown split, or missing
            files.
    """

    label_space = OOD_LABELS

    def __init__(self, spec: DataSpec, split: str, *, outliers: Sequence[str] = ()) -> None:
        if isinstance(outliers, str):
            raise InputError(f"outliers is the text {quoted(outliers)}; give a list of class names")
        space = spec.label_space
        chosen = {space.index(name) for name in outliers}
        unknown = spec.generator is not None and bool(spec.options.get("unknown"))
        if not chosen and not unknown:
            if space.num_classes != 2:
                raise InputError(
                    f"data set {spec.name!r} has {space.num_classes} classes and none is said to be unknown; name "
                    "the outlier classes, or use a spec with the two classes in and out"
                )
            chosen = {1}
        if len(chosen) == space.num_classes:
            raise InputError(f"all {space.num_classes} classes of data set {spec.name!r} are outliers; leave some in")
        known = [label for label in range(space.num_classes) if label not in chosen]
        self.known_names = tuple(space.names[label] for label in known)
        self.outlier_names = tuple(space.names[label] for label in sorted(chosen))
        # A label becomes its number among the known classes, or the number after the last for outliers.
        self._table = np.full(256, IGNORE_INDEX, np.uint8)
        self._table[: space.num_classes] = len(known)
        self._table[known] = np.arange(len(known))
        self.spec, self.split = spec, split
        if _is_benchmark(spec):
            spec = _BenchmarkSpec(**{part.name: getattr(spec, part.name) for part in fields(DataSpec)})
        self.labelled = open_split(spec, split)
        self.ids = self.labelled.ids

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def name(self) -> str:
        """Name of the data set and of the split."""
        return f"{self.spec.name} {self.split}"

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Read one frame.

        Returns:
            PIL RGB and truth uint8 `[H, W]`: 0 in, 1 out, 255 void.

        Raises:
            InputError: unreadable files, different sizes, or unknown label values; names the file.
        """
        image, labels = self.read_labels(index)
        return image, self.truth(labels)

    def read_labels(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Read one frame with its classes, for open-set metrics.

        Returns:
            PIL RGB and labels uint8 `[H, W]`: 0..K-1 by `known_names`, K out, 255 void.

        Raises:
            InputError: as `read`.
        """
        if isinstance(self.labelled, ScenesDataset):
            scene = self.labelled.read_full(index)
            labels = self._table[scene.labels]
            labels[scene.unknown] = len(self.known_names)
            return Image.fromarray(scene.image), labels
        image, raw = self.labelled.read(index)
        assert isinstance(self.labelled, SegmentationDataset)
        if isinstance(self.labelled.spec, _BenchmarkSpec) and self.spec.name == "fishyscapes_static":
            image = _with_overlay(image, self.labelled.samples[index].mask)
        return image, self._table[raw]

    def truth(self, labels: np.ndarray) -> np.ndarray:
        """Return the truth (0, 1, 255) of labels from `read_labels`."""
        table = np.zeros(256, np.uint8)
        table[len(self.known_names)], table[IGNORE_INDEX] = 1, IGNORE_INDEX
        return table[labels]


def open_ood(
    ref: str | Path, split: str | None = None, *, root: str | Path | None = None, outliers: Sequence[str] = ()
) -> OODDataset:
    """Open a split of a data set for out-of-distribution metrics.

    Args:
        ref: built-in name, YAML file or folder, see `gss.data.specs.load.load_spec`.
        split: name of the split; by default the only one, or the first existing one of `val`, `test`, `all`.
        root: folder of the data set.
        outliers: see `OODDataset`.

    Raises:
        InputError: see `load_spec` and `OODDataset`.
    """
    spec = load_spec(ref, root).as_listed()
    if split is None:
        existing = spec.available_splits()
        usual = existing if len(existing) == 1 else [name for name in _USUAL_SPLITS if name in existing]
        if not usual:
            raise InputError(f"data set {spec.name!r} has the splits {', '.join(existing) or 'none'}; name one")
        split = usual[0]
    return OODDataset(spec, split, outliers=outliers)


def _is_benchmark(spec: DataSpec) -> bool:
    """Return whether a spec is a built-in one or based on it; the name alone is not enough."""
    return spec.generator is None and spec.name in builtin_specs() and spec.mask == load_spec(spec.name).mask


def _with_overlay(image: Image.Image, mask: Path) -> Image.Image:
    """Add the signed colors of a Fishyscapes Static overlay to the Cityscapes image."""
    path = mask.with_name(mask.name.replace("_labels.png", "_rgb.npz"))
    try:
        with np.load(path, allow_pickle=False) as archive:
            overlay = archive["rgb"]
        pixels = np.asarray(image).astype(np.int64) + overlay.astype(np.int64)
    # A damaged archive raises BadZipFile, EOFError or zlib.error, a missing entry KeyError.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"cannot add overlay {path} to its Cityscapes image: {reason}") from error
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def open_benchmarks(
    refs: Sequence[str], split: str | None = None, *, roots: Sequence[str] = (), outliers: Sequence[str] = ()
) -> list[OODDataset]:
    """Open several data sets, see `open_ood`.

    Args:
        refs: data specs.
        split: split of all; see `open_ood` for the default.
        roots: folders: none, one for all, or one for each.
        outliers: classes held out of training.

    Raises:
        InputError: another number of folders, or two data sets of one name.
    """
    if len(roots) not in (0, 1, len(refs)):
        raise InputError(
            f"--root names {len(roots)} folders for {len(refs)} data sets; give one for all or one for each"
        )
    places: list[str | None] = [*roots]
    if len(places) < len(refs):
        places = (places or [None]) * len(refs)
    opened = [open_ood(ref, split, root=root, outliers=outliers) for ref, root in zip(refs, places, strict=True)]
    names = [dataset.name for dataset in opened]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"--data names {twice} twice; results could not be told apart")
    return opened
