"""Find and read data specs: built-in names, YAML files and folders."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gss.config.root import config_root
from gss.core.errors import InputError, nearest, quoted, unknown_name
from gss.core.lookup.near_paths import is_foreign, path_hint
from gss.core.yaml import read_yaml
from gss.data.files.patterns import check_patterns
from gss.data.specs.flips import with_flips
from gss.data.specs.folder import folder_hints, folder_keys
from gss.data.specs.labels import generated_labels, make_label_space, spec_label_map
from gss.data.specs.mixture import build_mixture
from gss.data.specs.source import find_source, source_labels
from gss.data.specs.spec import FOLDER_SPEC, DataSpec
from gss.data.weak.source import WeakSource
from gss.labels.mseg import read_columns

_NAME, _TEXT, _LIST_OR_MAPPING, _MAPPING = (str, int), (str,), (list, dict), (dict,)
_WORDS: dict[tuple[type, ...], str] = {
    _NAME: "text",
    _TEXT: "text",
    _LIST_OR_MAPPING: "a list or a mapping",
    _MAPPING: "a mapping",
    (float, int): "a number between 0 and 1",
}
# Allowed types of the keys of a spec; keys that are checked where they are used allow any.
_KEYS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("base", "name", "root"), _NAME),
    **dict.fromkeys(("image", "mask", "list", "panoptic", "generator", "domain"), _TEXT),
    "validate": (float, int),
    **{"splits": _LIST_OR_MAPPING, "maps": _MAPPING, "length": _MAPPING},
    **dict.fromkeys(("classes", "label_map", "ignore", "unlisted", "color_coded", "mseg"), ()),
    **dict.fromkeys(("unknown", "trap", "seed", "image_size", "domains", "weak", "label_flips"), ()),
}
_NAMES = ("classes", "label_flips", "weak.order", "weak.ignore", "mseg.leave_out")
_TABLES = ("maps.*", "weak.aliases", "mseg.names", "domains.*.map")


def builtin_specs() -> list[str]:
    """Names of the specs that come with the package."""
    return sorted(path.stem for path in (config_root() / "data").glob("*.yaml"))


def load_spec(ref: str | Path, root: str | Path | None = None) -> DataSpec:
    """Read a data spec.

    Args:
        ref: name of a built-in spec, path of a YAML file, `module:Name` of a class (docs/extending), or a folder:
            with a spec `data.yaml`, or with images and labels that can be understood
            (`gss.data.specs.folder.folder_keys`). A built-in name wins over a folder of that name; write
            `./NAME` for the folder.
        root: folder of the data set; of a mixture, the folder that the roots of its domains are relative to.
            Default: the environment variable `GSS_DATA_<NAME>`, then the spec's own root.

    Returns:
        Spec; the existence of its root is checked when a split is read.

    Raises:
        InputError: no such spec (names the nearest), or an invalid one (names file, key and fix).
    """
    path, names = Path(ref).expanduser(), builtin_specs()
    if str(ref) in names:
        path = config_root() / "data" / f"{ref}.yaml"
    elif path.is_dir():
        hints = folder_hints(path) if (path / FOLDER_SPEC).is_file() else {}
        if hints is not None:
            return understood_spec(Path(root).expanduser() if root else path, hints)
        path = path / FOLDER_SPEC
    elif not path.is_file() and (source := find_source(str(ref))) is not None:
        return imported_spec(str(ref), source, root)
    if not path.is_file():
        raise _nothing_there(str(ref), names)
    try:
        data = _read(path)
        if "domains" in data and "label_flips" in data:
            raise InputError("label_flips belongs to the spec of a domain, not to that of a mixture")
        if "domains" in data:
            return build_mixture(data, path, root, load=load_spec, builtin=names)
        spec = _build(data, path)
        if "label_flips" in data:
            spec = with_flips(spec, data["label_flips"])
    except InputError as error:
        raise InputError(f"data spec {path}: {error}") from error
    chosen = root or os.environ.get(spec.variable) or spec.root
    return replace(spec, root=Path(chosen).expanduser()) if chosen else spec


def imported_spec(name: str, source: Any, root: str | Path | None = None) -> DataSpec:
    """Return the spec of a data set that is a class of the user's own.

    Args:
        name: `module:Name`, or the name of an entry point.
        source: the class.
        root: folder of the data, which its splits are opened with.
    """
    return DataSpec(
        name=name.rpartition(":")[2],
        label_space=source_labels(name, source),
        generator=name,
        splits={str(split): str(split) for split in source.splits},
        options={"root": None if root is None else str(root)},
    )


def understood_spec(root: Path, hints: Mapping[str, Any] | None = None) -> DataSpec:
    """Return the spec of a folder without one; `note` says in one line how it was understood.

    Args:
        root: the folder.
        hints: keys of a spec that the user gave, see `gss.data.layouts.understand.HINTS`.

    Raises:
        InputError: see `folder_keys`.
    """
    keys, line = folder_keys(root, hints)
    return replace(_build(keys, root / FOLDER_SPEC), root=root, note=line)


def _nothing_there(ref: str, names: Collection[str]) -> InputError:
    """Build the error for a data spec that is neither a built-in name nor a path that exists."""
    path = Path(ref).expanduser()
    parent = path.parent if path.parent.is_dir() else Path()
    near = nearest(path.name, [item.name for item in parent.iterdir() if item.is_dir() or item.suffix == ".yaml"])
    if near is not None and nearest(ref, names) is None and not is_foreign(ref):
        return InputError(f"no data set {quoted(ref)}: there is no such folder or file; did you mean {parent / near}?")
    if len(path.parts) > 1 or is_foreign(ref):
        hint = path_hint(ref) or "; check the path"
        return InputError(f"no data set {quoted(ref)}: there is no such folder or file{hint}")
    return unknown_name("data spec", ref, names, where="no YAML file and no folder of that name")


def _read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return the keys of a spec file and of its base, which lies beside it or is a built-in spec."""
    data = read_yaml(path, names=_NAMES, tables=_TABLES, values=("label_map",))
    if not isinstance(data, dict):
        raise InputError("must be a YAML mapping with keys such as name, root, image, mask, classes")
    for key in data:
        if key not in _KEYS:
            raise unknown_name("key", key, _KEYS)
        kinds, value = _KEYS[key], data[key]
        if kinds and value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
            raise InputError(f"{key} is {quoted(value)}; it must be {_WORDS[kinds]}")
    if "base" in data:
        name = f"{data.pop('base')}.yaml"
        base = path.parent / name
        if not base.is_file() or base == path:
            base = config_root() / "data" / name
        if not base.is_file() or base in above:
            raise InputError(f"base: no spec {name} beside this file or built in, or it leads back to itself")
        data = _read(base, (*above, base)) | data
    return data


def _build(data: dict[str, Any], path: Path) -> DataSpec:
    """Build the spec of a data set from its keys; `path` is the YAML file."""
    name = str(data.get("name") or path.stem)
    root = path.parent / Path(str(data["root"])).expanduser() if data.get("root") else None
    given = data.get("splits") or {}
    splits = {str(s): str(s) for s in given} if isinstance(given, list) else {str(k): str(v) for k, v in given.items()}
    if data.get("generator"):
        return _build_generated(data, name)
    _check_validate(data.get("validate"), splits)
    weak = None
    if data.get("weak") is not None:
        weak = WeakSource.parse(data["weak"], path.parent, make_label_space(data.get("classes")).names)
    for key in ("image", "mask", "classes"):
        if not data.get(key) and not (key == "mask" and weak is not None):
            raise InputError(f"key {quoted(key)} is missing")
    for key in ("image", "mask"):
        if data.get(key) and "{id}" not in str(data[key]):
            raise InputError(f"{key} is {quoted(data[key])}; the pattern must contain {{id}}")
    list_file = data.get("list")
    if list_file is None and not splits and "{split}" in data["image"]:
        raise InputError("splits is missing: name them, or give a list file, when image contains {split}")
    if list_file is not None and not splits and list_file.count("{split}") != 1:
        raise InputError(f"list is {quoted(list_file)}; it must contain {{split}} once, or splits must name the splits")
    mask_key = "mask" if data.get("mask") else "image"
    for part in splits.values() or ("",):
        check_patterns(*(str(data[key]).replace("{split}", part) for key in ("image", mask_key)))
    if data.get("panoptic") and data.get("color_coded"):
        raise InputError("panoptic and color_coded exclude each other; panoptic masks hold segment ids, not colours")
    label_space = make_label_space(data["classes"], color_coded=bool(data.get("color_coded")))
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
        validate=data.get("validate"),
    )


def _check_validate(share: float | None, splits: Mapping[str, str]) -> None:
    """Require a share of images to validate on that is one, of a split that it can be taken from."""
    if share is None:
        return
    if not 0 < share < 1:
        raise InputError(f"validate is {share}; it is the share of the images that validates, such as 0.2")
    if splits and list(splits) != ["all"] and ("train" not in splits or "val" in splits):
        raise InputError(
            f"validate is {share}, but there are the splits {', '.join(splits)}: it takes images to validate on from "
            "all, or from train where there is no val; remove it, or remove val from splits"
        )


def _build_generated(data: dict[str, Any], name: str) -> DataSpec:
    """Build the spec of a generated data set from its keys."""
    options: dict[str, Any] = {
        key: data[key] for key in ("domain", "length", "image_size", "unknown", "trap", "seed") if key in data
    }
    if data["generator"] != "scenes":
        raise InputError(f"generator is {quoted(data['generator'])}; the only generator is 'scenes'")
    if not isinstance(options.get("length"), dict) or not options["length"]:
        raise InputError("length is missing; give the number of scenes of each split, as length: {train: 400}")
    for split, count in options["length"].items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise InputError(f"length of {split!r} is {quoted(count)}; it must be a whole number of at least 1")
    size, seed = options.get("image_size", [16, 16]), options.get("seed", 0)
    if not isinstance(size, list) or len(size) != 2 or any(type(side) is not int or side < 16 for side in size):
        raise InputError(f"image_size is {quoted(size)}; it must be [height, width] of at least 16 pixels")
    if type(seed) is not int or seed < 0:
        raise InputError(f"seed is {quoted(seed)}; it must be a whole number of at least 0")
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


def _relations(data: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a spec about other label spaces as arguments of `DataSpec`."""
    maps = data.get("maps") or {}
    if not isinstance(maps, dict) or any(not isinstance(names, dict) for names in maps.values()):
        raise InputError("maps must be a mapping of data set to {class: class there}")
    return {"mseg": read_columns(data.get("mseg")), "maps": maps}
