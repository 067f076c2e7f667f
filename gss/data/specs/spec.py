"""Description of a data set: places of images and masks, and the meaning of mask values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gss.core.errors import InputError, nearest, quoted
from gss.data.files.lists import ListEntry, resolve_list
from gss.data.files.patterns import base_folder, find_files
from gss.data.files.samples import Sample, pair_up
from gss.data.files.walk import is_hidden
from gss.data.flips.label_flip import LabelFlip
from gss.data.images import IMAGE_SUFFIXES, MASK_SUFFIXES
from gss.data.label_map import LabelMap
from gss.data.weak.files import WeakFiles
from gss.data.weak.source import WeakSource
from gss.labels.mseg import MSegColumn
from gss.labels.space import LabelSpace

FindFiles = Callable[[Path, str, tuple[str, ...]], dict[str, Path]]

FOLDER_SPEC = "data.yaml"
"""Spec in a folder that is a data set."""


@dataclass(frozen=True)
class DataSpec:
    """Data set on disk, generated, or a mixture of others.

    Args:
        name: short name; `GSS_DATA_<NAME>` is the environment variable that sets its root.
        label_space: classes of the labels.
        label_map: meaning of raw mask values.
        image, mask: path patterns below the root with `{id}`, optionally `{split}`, `*` for part of a name
            before `{id}`, and `.*` for any image suffix.
        panoptic: pattern of the JSON file that gives the categories of panoptic masks; None: other masks.
        list_file: pattern of the text file with one id a line; None finds ids by searching `image`.
        splits: split name to the text that replaces `{split}`; empty with a list file: one split per list found.
        root: folder of the data set, if known.
        note: remark to show to the user (names that were inferred).
        generator: name of a generator instead of files.
        options: arguments of the generator.
        mseg: columns of the classes in the MSeg table: "to" the universal classes and "from" them.
        maps: name of another data set to its names of the classes, as `LabelMapping.from_names` takes them.
        domains: data sets of a mixture, which has no files of its own.
        weak: labels that replace full masks in the splits they cover.
        flips: classes that turn into a second one, see `gss.data.specs.flips`.
    """

    name: str
    label_space: LabelSpace
    label_map: LabelMap = LabelMap(())
    image: str = ""
    mask: str = ""
    list_file: str | None = None
    splits: Mapping[str, str] = field(default_factory=dict)
    root: Path | None = None
    note: str = ""
    generator: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    panoptic: str | None = None
    mseg: Mapping[str, MSegColumn] = field(default_factory=dict)
    maps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    domains: tuple[Domain, ...] = ()
    weak: WeakSource | None = None
    flips: tuple[LabelFlip, ...] = ()

    @property
    def variable(self) -> str:
        """Environment variable that names the root folder."""
        return root_variable(self.name)

    def folder(self) -> Path:
        """Return the root folder.

        Raises:
            InputError: it is not set or does not exist; the message says how to set it.
        """
        fix = f"set data.root=FOLDER, --root FOLDER or the environment variable {self.variable}"
        if self.root is None:
            raise InputError(f"data set {self.name!r} has no root folder: {fix}")
        if not self.root.is_dir():
            raise InputError(f"root folder of data set {self.name!r} does not exist: {self.root}; {fix}")
        return self.root

    def available_splits(self) -> list[str]:
        """Return the names of the splits that can be read (for list files: those whose list exists)."""
        if self.domains:
            offered = dict.fromkeys(name for domain in self.domains for name in domain.offers())
            return [
                name for name in offered if all(domain.splits or name in domain.offers() for domain in self.domains)
            ]
        if self.generator:
            return list(self.splits)
        root = self.folder()
        if self.list_file is None:
            return list(self.splits) or ["all"]
        if self.splits:
            return [name for name, part in self.splits.items() if (root / self._list_name(part)).is_file()]
        before, after = self.list_file.split("{split}")
        start = len(before.rpartition("/")[2])
        lists = [path.name for path in root.glob(f"{before}*{after}") if not is_hidden(path.name)]
        return sorted(name[start : len(name) - len(after)] for name in lists)

    @property
    def undivided(self) -> bool:
        """True without splits, or with `all` alone: `train` is then the first four fifths by id, `val` the rest.

        Images are not alternated, because neighbours by name are often neighbours in a video.
        """
        whole = self.list_file is None and not self.splits
        return not self.domains and self.generator is None and (whole or list(self.splits) == ["all"])

    def _list_name(self, part: str) -> str:
        assert self.list_file is not None
        return self.list_file.replace("{split}", part)

    def check_split(self, split: str) -> None:
        """Require an existing split.

        Raises:
            InputError: it does not exist; the message lists those that do.
        """
        for domain in self.domains:
            domain.check_split(split)
        existing = self.available_splits()
        if split not in existing and not (self.undivided and split in ("train", "val")):
            close = nearest(split, existing)
            hint = f", did you mean {quoted(close)}?" if close else ";"
            listed = ", ".join(existing) or f"none (no list file {self.list_file} in {self.root})"
            raise InputError(f"data set {self.name!r} has no split {split!r}{hint} existing splits: {listed}")

    def samples(self, split: str, *, find: FindFiles = find_files) -> list[Sample]:
        """Return image and mask files of a split, in list order or sorted by id.

        Files are looked up but not opened; a file that does not exist has its expected path, see `Sample`.

        Args:
            split: name of the split.
            find: function with the arguments and result of `find_files`, such as one that remembers its results.

        Raises:
            InputError: unknown or empty split (names the existing ones), no root folder, two files with one id, or a
                mixture.
        """
        if self.domains:
            raise InputError(f"data set {self.name!r} is a mixture of domains: give the spec of one of them here")
        root = self.folder()
        self.check_split(split)
        part = self.splits.get("all" if self.undivided else split, split)
        image, mask = self.image.replace("{split}", part), self.mask.replace("{split}", part)
        images = self._without_masks(find(root, image, IMAGE_SUFFIXES), root, image, mask, find)
        if self.list_file is not None:
            source = root / self._list_name(part)
            entries = resolve_list(source, images, root)
        else:
            source = root / image
            entries = [ListEntry(id, "") for id in sorted(images)]
        if self.undivided and split != "all":
            entries = self._divide(entries, split)
        if not entries:
            raise InputError(f"split {split!r} of data set {self.name!r} is empty: no ids in {source}")
        if self.weak is not None and self.weak.covers(split):
            return self.weak.samples(root, part, image, entries, images)
        if not mask:
            raise InputError(f"split {split!r} of data set {self.name!r} has no masks: name them with mask in the spec")
        samples = pair_up(root, image, mask, entries, images, find(root, mask, MASK_SUFFIXES))
        if self.panoptic is None:
            return samples
        return [replace(sample, segments=root / self.panoptic.replace("{split}", part)) for sample in samples]

    @staticmethod
    def _without_masks(images: dict[str, Path], root: Path, image: str, mask: str, find: FindFiles) -> dict[str, Path]:
        """Return the images that are not masks of others, where both may lie in one folder."""
        places = [f"{base_folder(pattern)}/".lstrip("/") for pattern in (image, mask)]
        if not mask or not (places[0].startswith(places[1]) or places[1].startswith(places[0])):
            return images
        masks = find(root, mask, MASK_SUFFIXES)
        taken = {path for id, path in masks.items() if id in images}
        return {id: path for id, path in images.items() if path not in taken}

    def _divide(self, entries: list[ListEntry], split: str) -> list[ListEntry]:
        """Return the entries of `train` or `val` of an undivided data set."""
        if len(entries) == 1:
            raise InputError(
                f"data set {self.name!r} has 1 image, too few for train and val: add images or lists, or set "
                "data.train_split=all data.val_split=all"
            )
        cut = len(entries) - max(1, len(entries) // 5)
        return entries[:cut] if split == "train" else entries[cut:]

    def weak_files(self, split: str, samples: Sequence[Sample]) -> WeakFiles | None:
        """Return the weak labels of the samples of a split; None where its labels are full masks.

        Raises:
            InputError: see `WeakFiles`.
        """
        if self.weak is None or not self.weak.covers(split):
            return None
        return WeakFiles(
            self.weak,
            samples,
            root=self.folder(),
            part=self.splits.get(split, split),
            images=[self.image.replace("{split}", part) for part in dict.fromkeys(self.splits.values()) or ("",)],
            label_space=self.label_space,
            label_map=self.label_map,
            name=self.name,
        )

    def weakly_labelled(self, split: str) -> bool:
        """Return whether the labels of a split are weak ones, not full masks."""
        return self.weak is not None and self.weak.covers(split) and not self.weak.dense

    def stray_masks(self, split: str) -> list[Path]:
        """Return the masks of a split without an image; none if a list file says which ids belong to it."""
        if self.list_file is not None or (self.weak is not None and self.weak.covers(split)):
            return []
        samples = self.samples(split)
        known = {sample.mask for sample in samples}
        mask = self.mask.replace("{split}", self.splits.get(split, split))
        return [path for path in find_files(self.folder(), mask, MASK_SUFFIXES).values() if path not in known]


@dataclass(frozen=True)
class Domain:
    """Data set of a mixture.

    Args:
        name: name, unique in the mixture.
        spec: data set, its labels in the classes of the mixture.
        splits: split of the mixture to split of the data set; the domain takes part in these only. Empty: it must
            have every split that is asked for, under the same name.
    """

    name: str
    spec: DataSpec
    splits: Mapping[str, str] = field(default_factory=dict)

    @property
    def annotated(self) -> tuple[int, ...]:
        """Class numbers that its masks can show."""
        values = self.spec.label_map.values
        return tuple(k for k in range(self.spec.label_space.num_classes) if not values or values[k])

    def offers(self) -> list[str]:
        """Return the splits of the mixture that it can contribute to."""
        return list(self.splits) or [*self.spec.available_splits(), *(["train", "val"] if self.spec.undivided else [])]

    def split(self, name: str) -> str | None:
        """Return its split for a split of the mixture, None if it takes no part."""
        return self.splits.get(name) if self.splits else name

    def check_split(self, name: str) -> None:
        """Require its part of a split of the mixture.

        Raises:
            InputError: the data set lacks it; the message names the domain.
        """
        split = self.split(name)
        if split is None:
            return
        try:
            self.spec.check_split(split)
        except InputError as error:
            raise InputError(f"domain {self.name!r}: {error}; name its splits under splits:") from error


def root_variable(name: str) -> str:
    """Return the environment variable that names the root folder of a data set."""
    return "GSS_DATA_" + re.sub(r"\W", "_", name).upper()


def named_split(ref: str) -> tuple[str, str] | None:
    """Return the parts of `SPEC:SPLIT`, None if no split is named (the colon of `C:/data` names none)."""
    spec, colon, split = ref.rpartition(":")
    return (spec, split) if colon and spec and re.fullmatch(r"[^/\\]+", split) else None
