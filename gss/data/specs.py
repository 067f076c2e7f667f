"""Data specs: where a data set keeps its images and masks, and what its mask values mean, as YAML."""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from gss.config_io import config_root
from gss.data.files import Sample, check_patterns, find_files, find_ids, pair_up, read_list
from gss.data.images import MASK_SUFFIXES
from gss.data.label_map import LabelMap
from gss.data.mseg import MSegColumn, read_columns
from gss.data.spec_labels import generated_labels, make_label_space, spec_label_map
from gss.errors import did_you_mean
from gss.labels import LabelSpace
from gss.weak.source import WeakSource

__all__ = ["DataSpec", "Domain", "builtin_specs", "load_spec", "named_split"]

FOLDER_SPEC = "data.yaml"
"""Spec in a folder that is a data set."""

_KEYS = (
    *(
        "base",
        "name",
        "root",
        "image",
        "mask",
        "list",
        "splits",
        "classes",
        "label_map",
        "ignore",
        "unlisted",
    ),
    *("color_coded", "panoptic", "mseg", "maps"),
    *("generator", "domain", "length", "image_size", "unknown", "trap", "seed", "domains", "weak"),
)


@dataclass(frozen=True)
class DataSpec:
    """A data set on disk or a generated one.

    Args:
        name: short name; `GSS_DATA_<NAME>` is the environment variable that sets its root.
        label_space: the classes.
        label_map: meaning of raw mask values.
        image, mask: path patterns below the root with `{id}`, optionally `{split}`, `*` for part of a name
            before `{id}`, and `.*` for any image suffix.
        panoptic: pattern of the JSON file that gives the categories of panoptic masks; None: other masks.
        list_file: pattern of the text file with one id a line; None finds ids by searching `image`.
        splits: split name to what replaces `{split}`; empty with a list file: one split per list found.
        root: folder of the data set, if known.
        note: remark to show to the user (names that were inferred).
        generator: name of a generator instead of files.
        options: arguments of the generator.
        mseg: where the classes stand in the MSeg table: "to" the universal classes and "from" them.
        maps: name of another data set to what the classes are there, as `LabelMapping.from_names` takes it.
        domains: data sets that this one is a mixture of; it has no files of its own then.
        weak: labels that take the place of full masks in the splits they cover.
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

    @property
    def variable(self) -> str:
        """Environment variable that names the root folder."""
        return root_variable(self.name)

    def folder(self) -> Path:
        """The root folder.

        Raises:
            ValueError: it is not set or does not exist; the message says how to set it.
        """
        fix = f"set data.root=FOLDER, --root FOLDER or the environment variable {self.variable}"
        if self.root is None:
            raise ValueError(f"data set {self.name!r} has no root folder: {fix}")
        if not self.root.is_dir():
            raise ValueError(f"root folder of data set {self.name!r} does not exist: {self.root}; {fix}")
        return self.root

    def available_splits(self) -> list[str]:
        """Names of the splits that can be read (for list files: those whose list exists)."""
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
        return sorted(path.name[start : len(path.name) - len(after)] for path in root.glob(f"{before}*{after}"))

    @property
    def undivided(self) -> bool:
        """True when nothing says what is for training: `train` is then the first four fifths by id, `val` the rest.

        Not every fifth image: neighbours by name are often neighbours in a video.
        """
        return not self.domains and self.generator is None and self.list_file is None and not self.splits

    def _list_name(self, part: str) -> str:
        assert self.list_file is not None
        return self.list_file.replace("{split}", part)

    def check_split(self, split: str) -> None:
        """Require an existing split.

        Raises:
            ValueError: it does not exist; the message lists those that do.
        """
        for domain in self.domains:
            domain.check_split(split)
        existing = self.available_splits()
        if split not in existing and not (self.undivided and split in ("train", "val")):
            hint = did_you_mean(split, existing)
            listed = ", ".join(existing) or f"none (no list file {self.list_file} in {self.root})"
            raise ValueError(f"data set {self.name!r} has no split {split!r}; existing splits: {listed} {hint}".strip())

    def samples(self, split: str) -> list[Sample]:
        """Image and mask files of a split, in list order or sorted by id.

        Files are looked up but not opened; a file that is not there has `None` or its expected path, see
        `Sample`.

        Raises:
            ValueError: unknown or empty split (names the existing ones), no root folder, or a mixture.
        """
        if self.domains:
            raise ValueError(f"data set {self.name!r} is a mixture of domains: give the spec of one of them here")
        root = self.folder()
        self.check_split(split)
        part = self.splits.get(split, split)
        image, mask = self.image.replace("{split}", part), self.mask.replace("{split}", part)
        if self.list_file is not None:
            source = root / self._list_name(part)
            ids = read_list(source)
        else:
            source = root / image
            ids = find_ids(root, image)
            if self.undivided and split != "all":
                cut = len(ids) - max(1, len(ids) // 5)
                ids = ids[:cut] if split == "train" else ids[cut:]
        if not ids:
            raise ValueError(f"split {split!r} of data set {self.name!r} is empty: no ids in {source}")
        if self.weak is not None and self.weak.covers(split):
            return self.weak.samples(self, split, image, ids)
        if not mask:
            raise ValueError(f"split {split!r} of data set {self.name!r} has no masks: name them with mask in the spec")
        samples = pair_up(root, image, mask, ids)
        if self.panoptic is None:
            return samples
        return [replace(sample, segments=root / self.panoptic.replace("{split}", part)) for sample in samples]

    def stray_masks(self, split: str) -> list[Path]:
        """Masks of a split without an image; none where a list file says which ids belong to it."""
        if self.list_file is not None or (self.weak is not None and self.weak.covers(split)):
            return []
        samples = self.samples(split)
        known = {sample.mask for sample in samples}
        mask = self.mask.replace("{split}", self.splits.get(split, split))
        return [path for path in find_files(self.folder(), mask, MASK_SUFFIXES).values() if path not in known]


@dataclass(frozen=True)
class Domain:
    """One of the data sets of a mixture.

    Args:
        name: unique in the mixture.
        spec: the data set, its labels in the classes of the mixture.
        splits: split of the mixture to split of the data set; the domain takes part in these alone. Empty: it must
            have every split that is asked for, under the same name.
    """

    name: str
    spec: DataSpec
    splits: Mapping[str, str] = field(default_factory=dict)

    @property
    def annotated(self) -> tuple[int, ...]:
        """Classes that its masks can show."""
        values = self.spec.label_map.values
        return tuple(k for k in range(self.spec.label_space.num_classes) if not values or values[k])

    def offers(self) -> list[str]:
        """Splits of the mixture that it can contribute to."""
        return list(self.splits) or [*self.spec.available_splits(), *(["train", "val"] if self.spec.undivided else [])]

    def split(self, name: str) -> str | None:
        """Its split behind a split of the mixture; None where it takes no part."""
        return self.splits.get(name) if self.splits else name

    def check_split(self, name: str) -> None:
        """Require its part of a split of the mixture.

        Raises:
            ValueError: the data set lacks it; the message names the domain.
        """
        split = self.split(name)
        if split is None:
            return
        try:
            self.spec.check_split(split)
        except ValueError as error:
            raise ValueError(f"domain {self.name!r}: {error}; name its splits under splits:") from error


def root_variable(name: str) -> str:
    """Environment variable that names the root folder of a data set."""
    return "GSS_DATA_" + re.sub(r"\W", "_", name).upper()


class _StrictLoader(yaml.SafeLoader):
    """YAML loader that refuses a key given twice (PyYAML keeps the last one silently)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
        for key in keys:
            if keys.count(key) > 1:
                line = node.start_mark.line + 1
                raise ValueError(f"{key!r} is given twice in the block at line {line}; names must be unique")
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """Content of a YAML file.

    Raises:
        ValueError: it is not valid, or gives a key twice.
    """
    try:
        with path.open(encoding="utf-8") as file:
            return yaml.load(file, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {' '.join(str(error).split())}") from error


def builtin_specs() -> list[str]:
    """Names of the specs that come with the package."""
    return sorted(path.stem for path in (config_root() / "data").glob("*.yaml"))


def named_split(ref: str) -> tuple[str, str] | None:
    """`SPEC:SPLIT` taken apart; None where no split is named (the colon of `C:/data` names none)."""
    spec, colon, split = ref.rpartition(":")
    return (spec, split) if colon and spec and re.fullmatch(r"[^/\\]+", split) else None


def load_spec(ref: str | Path, root: str | Path | None = None) -> DataSpec:
    """Read a data spec.

    Args:
        ref: name of a built-in spec, path of a YAML file, or a folder with a spec `data.yaml`, or with `images/`
            and `masks/` (and, better, `classes.json`). A built-in name wins over a folder of that name; write
            `./NAME` for the folder.
        root: folder of the data set; of a mixture, the folder that the roots of its domains are relative to.
            Default: the environment variable `GSS_DATA_<NAME>`, then the spec's own root.

    Returns:
        The spec. Whether its root exists is checked when a split is read.

    Raises:
        ValueError: no such spec (names the nearest), or an invalid one (names file, key and fix).
    """
    path, names = Path(ref).expanduser(), builtin_specs()
    if str(ref) in names:
        path = config_root() / "data" / f"{ref}.yaml"
    elif (path / FOLDER_SPEC).is_file():
        path = path / FOLDER_SPEC
    elif path.is_dir():
        from gss.data.folders import folder_spec  # it builds on this module

        return folder_spec(Path(root).expanduser() if root else path)
    if not path.is_file():
        hint = did_you_mean(str(ref), names)
        raise ValueError(
            f"no data spec {str(ref)!r} {hint}; give a YAML file, a folder with images/ and masks/, "
            f"or one of: {', '.join(names)}"
        )
    try:
        data = _read(path)
        if "domains" in data:
            from gss.data.multi_domain import build_mixture  # as above

            return build_mixture(data, path, root)
        spec = _build(data, path)
    except ValueError as error:
        raise ValueError(f"data spec {path}: {error}") from error
    chosen = root or os.environ.get(spec.variable) or spec.root
    return replace(spec, root=Path(chosen).expanduser()) if chosen else spec


def _read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Keys of a spec file over those of its base, which lies beside it or is a built-in spec."""
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise ValueError("must be a YAML mapping with keys such as name, root, image, mask, classes")
    for key in data:
        if key not in _KEYS:
            raise ValueError(f"unknown key {key!r} {did_you_mean(str(key), _KEYS)}; keys: {', '.join(_KEYS)}")
    if "base" in data:
        name = f"{data.pop('base')}.yaml"
        base = path.parent / name
        if not base.is_file() or base == path:
            base = config_root() / "data" / name
        if not base.is_file() or base in above:
            raise ValueError(f"base: no spec {name} beside this file or built in, or it leads back to itself")
        data = _read(base, (*above, base)) | data
    return data


def _build(data: dict[str, Any], path: Path) -> DataSpec:
    name = str(data.get("name") or path.stem)
    root = Path(data["root"]).expanduser() if data.get("root") else None
    if root is not None:
        root = path.parent / root  # unchanged when absolute
    splits = data.get("splits") or {}
    splits = (
        {str(s): str(s) for s in splits} if isinstance(splits, list) else {str(k): str(v) for k, v in splits.items()}
    )
    if data.get("generator"):
        options: dict[str, Any] = {
            key: data[key] for key in ("domain", "length", "image_size", "unknown", "trap", "seed") if key in data
        }
        if data["generator"] != "scenes":
            raise ValueError(f"generator is {data['generator']!r}; the only generator is 'scenes'")
        if not isinstance(options.get("length"), dict) or not options["length"]:
            raise ValueError("length is missing; give the number of scenes of each split, as length: {train: 400}")
        splits = {str(split): str(split) for split in options["length"]}
        space, label_map = generated_labels(data)
        return DataSpec(
            name=name,
            label_space=space,
            label_map=label_map,
            generator="scenes",
            options=options,
            splits=splits,
            **_relations(data),
        )
    weak = None
    if data.get("weak") is not None:
        weak = WeakSource.parse(data["weak"], path.parent, make_label_space(data.get("classes")).names)
    for key in ("image", "mask", "classes"):
        if not data.get(key) and not (key == "mask" and weak is not None):
            raise ValueError(f"key {key!r} is missing")
    for key in ("image", "mask"):
        if data.get(key) and "{id}" not in str(data[key]):
            raise ValueError(f"{key} is {data[key]!r}; the pattern must contain {{id}}")
    list_file = data.get("list")
    if list_file is None and not splits and "{split}" in data["image"]:
        raise ValueError("splits is missing: name them, or give a list file, when image contains {split}")
    if list_file is not None and not splits and list_file.count("{split}") != 1:
        raise ValueError(f"list is {list_file!r}; it must contain {{split}} once, or splits must name the splits")
    mask_key = "mask" if data.get("mask") else "image"
    for part in splits.values() or ("",):
        check_patterns(*(str(data[key]).replace("{split}", part) for key in ("image", mask_key)))
    if data.get("panoptic") and data.get("color_coded"):
        raise ValueError("panoptic and color_coded exclude each other; panoptic masks hold segment ids, not colours")
    label_space = make_label_space(data["classes"])
    return DataSpec(
        name=name,
        label_space=label_space,
        label_map=spec_label_map(data, label_space),
        image=data["image"],
        mask=data.get("mask") or "",
        list_file=list_file,
        splits=splits,
        root=root,
        panoptic=data.get("panoptic"),
        **_relations(data),
        weak=weak,
    )


def _relations(data: dict[str, Any]) -> dict[str, Any]:
    """What the spec says about other label spaces."""
    maps = data.get("maps") or {}
    if not isinstance(maps, dict) or any(not isinstance(names, dict) for names in maps.values()):
        raise ValueError("maps must be a mapping of data set to {class: class there}")
    return {"mseg": read_columns(data.get("mseg")), "maps": maps}
