"""Finding, reading and writing the mapping between the classes of two data sets, and `gss data map`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from gss.data.mseg import MSegColumn, MSegTaxonomy
from gss.data.specs import DataSpec, builtin_specs, load_spec, read_yaml
from gss.errors import did_you_mean
from gss.files import atomic_path
from gss.label_mapping import LabelMapping
from gss.label_names import by_key, listed, spelling_key
from gss.labels import LabelSpace

__all__ = ["find_mapping", "format_mapping", "load_mapping", "save_mapping"]

_KEYS = ("from", "to", "map", "unmapped", "one_to_one")


def find_mapping(
    source: DataSpec | LabelSpace,
    target: DataSpec | LabelSpace,
    *,
    file: str | Path | None = None,
    mseg: MSegTaxonomy | None = None,
) -> tuple[LabelMapping, str]:
    """The mapping from the classes of one data set (or model) to those of another.

    Taken from the first of: the file; the names, where both have the same classes; the MSeg table by way of the
    universal classes; what one of the specs says about the other under `maps`, reversed where need be; equal
    spelling.

    Args:
        source: data spec, or label space of a model.
        target: likewise.
        file: YAML file, see `load_mapping`.
        mseg: the MSeg table.

    Returns:
        The mapping, and a few words on where it comes from.

    Raises:
        ValueError: the file or an entry is wrong, a data set has no column in the table, or nothing maps to anything.
    """
    source, target = _informed(source), _informed(target)
    here, there = source.label_space, target.label_space
    if file is not None:
        return load_mapping(file, here, there), f"from {file}"
    if set(here.names) == set(there.names):
        return LabelMapping.from_names(here, there, {name: name for name in here.names}), "the classes are the same"
    if mseg is not None:
        universal = LabelMapping.identity(mseg.universal)
        up = universal if here == mseg.universal else mseg.to_universal(_column(source, "to", mseg), here)
        down = universal if there == mseg.universal else mseg.from_universal(_column(target, "from", mseg), there)
        return _general_first(up.then(down)), "by the MSeg table"
    forward, backward = _entry(source, target), _entry(target, source)
    try:
        if forward is not None:
            return LabelMapping.from_names(here, there, forward), f"by what {source.name} says of {target.name}"
        if backward is not None:
            back = LabelMapping.from_names(there, here, backward)
            return back.inverse(), f"by what {target.name} says of {source.name}, reversed"
    except ValueError as error:
        raise ValueError(f"maps of {source.name if forward is not None else target.name}: {error}") from error
    return LabelMapping.by_spelling(here, there), "by spelling"


def load_mapping(path: str | Path, source: LabelSpace | None = None, target: LabelSpace | None = None) -> LabelMapping:
    """Read a mapping file.

    It holds `from` and `to` (a data spec or a list of class names each) and `map`, which names every class of `from`:
    `class: class there`, `class: [several, classes]`, `class: {one: 0.9, other: 0.1}`, or `class: null` to leave it
    out. `unmapped: drop` leaves out the classes that `map` does not mention; `one_to_one: true` refuses two classes
    that become one.

    Args:
        path: YAML file.
        source: the label space in whose order the result is; None: that of the file.
        target: likewise.

    Raises:
        ValueError: malformed or incomplete, unknown classes, or made for other classes; names the file.
    """
    try:
        data = read_yaml(Path(path))
        if not isinstance(data, dict) or not isinstance(data.get("map"), dict):
            raise ValueError("must be a YAML mapping with from, to and map: {class: class}")
        for key in data:
            if key not in _KEYS:
                raise ValueError(f"unknown key {key!r} {did_you_mean(str(key), _KEYS)}; keys: {', '.join(_KEYS)}")
        if data.get("unmapped", "error") not in ("error", "drop"):
            raise ValueError(f"unmapped is {data['unmapped']!r}; it must be error or drop")
        names = {str(name): targets for name, targets in data["map"].items()}
        return LabelMapping.from_names(
            _space(data.get("from"), "from", source),
            _space(data.get("to"), "to", target),
            names,
            unmapped=data.get("unmapped", "error"),
            one_to_one=bool(data.get("one_to_one", False)),
        )
    except (OSError, ValueError) as error:
        raise ValueError(f"mapping {path}: {error}") from error


def save_mapping(mapping: LabelMapping, path: str | Path, *, source: str = "", target: str = "") -> None:
    """Write a mapping file that `load_mapping` reads back and a person can correct.

    Args:
        mapping: the mapping.
        path: YAML file, replaced where it exists.
        source: data spec to name in the file; empty: it lists the classes.
        target: likewise.
    """
    never = ", ".join(mapping.unreachable) or "none"
    head = {"from": source or list(mapping.source.names), "to": target or list(mapping.target.names)}
    style: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 118}
    with atomic_path(path) as temporary:
        temporary.write_text(
            f"# Classes of `to` that nothing maps to: {never}\n"
            + yaml.safe_dump(head, default_flow_style=None, **style)
            + yaml.safe_dump({"map": mapping.to_names()}, default_flow_style=None, **style),
            encoding="utf-8",
        )


def format_mapping(mapping: LabelMapping) -> str:
    """Text table: every source class and what it becomes, then what is left out, never predicted and common."""
    width = max(map(len, mapping.source.names))
    lines = []
    for name, row in zip(mapping.source.names, mapping.shares, strict=True):
        parts = [
            mapping.target.names[t] + ("" if share == 1 else f" {100 * share:.0f} %") for t, share in row if share > 0
        ]
        covered = ", ".join(mapping.target.names[t] for t, share in row if share == 0)
        note = f" (covers {covered})" if covered else ""
        lines.append(f"  {name:<{width}}  -> {', '.join(parts) or '(left out)'}{note}")
    common = mapping.common()[1].target
    summary = {
        f"left out, {len(mapping.dropped)} of {mapping.source.num_classes}": mapping.dropped,
        f"never predicted, {len(mapping.unreachable)} of {mapping.target.num_classes}": mapping.unreachable,
        f"common classes, {common.num_classes}": common.names,
    }
    return "\n".join([*lines, "", *(f"{title}: {', '.join(names) or '-'}" for title, names in summary.items())])


def main(args: argparse.Namespace) -> None:
    """Handler of `gss data map`.

    Args:
        args: `source`, `target` (data specs, pipeline folders, or columns of the table), `mseg`, `map`, `out` (files
            or None) and `overwrite`.

    Raises:
        ValueError: see `find_mapping`; or the output exists.
    """
    if args.out and Path(args.out).exists() and not args.overwrite:
        raise ValueError(f"{args.out} exists and may hold corrections; pass --overwrite or another --out")
    mseg = MSegTaxonomy.read(args.mseg) if args.mseg else None
    source, target = _side(args.source, mseg), _side(args.target, mseg)
    mapping, origin = find_mapping(source, target, file=args.map, mseg=mseg)
    sides = ((args.source, source), (args.target, target))
    counts = [f"{ref} ({spec.label_space.num_classes} classes)" for ref, spec in sides]
    print(f"{' -> '.join(counts)}, {origin}\n\n{format_mapping(mapping)}")
    theirs = by_key(mapping.target)
    same = [name for key, name in by_key(mapping.source).items() if name in mapping.dropped and key in theirs]
    if same:
        print(f"left out although the other side has a class of that name: {', '.join(same)}")
    if args.out:
        builtin = [ref if ref in builtin_specs() else "" for ref in (args.source, args.target)]
        save_mapping(mapping, args.out, source=builtin[0], target=builtin[1])
        print(f"mapping: {args.out}")


def _side(ref: str, mseg: MSegTaxonomy | None) -> DataSpec:
    """Classes of a data spec, a pipeline folder, a column of the table, or the universal classes."""
    model = Path(ref).expanduser() / "prior" / "config.json"
    if model.is_file():
        try:
            names = json.loads(model.read_text(encoding="utf-8"))["id2label"].values()
        except (ValueError, KeyError, AttributeError) as error:
            raise ValueError(f"{model} names no classes: {error}") from error
        return DataSpec(name="the model", label_space=LabelSpace(tuple(names)))
    if mseg is not None and ref not in builtin_specs():
        if ref == "universal":
            return DataSpec(name=ref, label_space=mseg.universal)
        if ref in mseg.columns:
            column = MSegColumn(ref)
            return DataSpec(name=ref, label_space=mseg.classes(ref), mseg={"to": column, "from": column})
    return load_spec(ref)


def _informed(side: DataSpec | LabelSpace) -> DataSpec:
    """A spec that says nothing about others takes over what a built-in one with the same classes says."""
    spec = DataSpec(name="the model", label_space=side) if isinstance(side, LabelSpace) else side
    if not spec.mseg and not spec.maps:
        for other in _builtin():
            if other.label_space.names == spec.label_space.names and (other.mseg or other.maps):
                return replace(spec, mseg=other.mseg, maps=other.maps)
    return spec


@cache
def _builtin() -> tuple[DataSpec, ...]:
    """All built-in specs, read once: a matrix of mappings asks for them many times."""
    return tuple(map(load_spec, builtin_specs()))


def _column(spec: DataSpec, direction: str, mseg: MSegTaxonomy) -> MSegColumn:
    if direction not in spec.mseg:
        raise ValueError(
            f"data set {spec.name!r} names no column of the MSeg table; add mseg: COLUMN to its spec, with one of: "
            + ", ".join(mseg.columns)
        )
    return spec.mseg[direction]


def _general_first(mapping: LabelMapping) -> LabelMapping:
    """Give a divided class wholly to the target that bears its name; on the way it may have had another."""
    names = mapping.to_names()
    for name, targets in mapping.divided.items():
        if spelling_key(name) in map(spelling_key, targets):
            names[name] = targets
    return LabelMapping.from_names(mapping.source, mapping.target, names)


def _entry(spec: DataSpec, other: DataSpec) -> Mapping[str, Any] | None:
    """What a spec says about another data set, or about one that has the same classes or some of them."""
    known = set(other.label_space.names)
    for name, names in spec.maps.items():
        if name == other.name:
            return names
        if name in builtin_specs() and known <= set(load_spec(name).label_space.names):
            return {
                own: target if not isinstance(target, str) or target in known else None for own, target in names.items()
            }
    return None


def _space(entry: Any, key: str, given: LabelSpace | None) -> LabelSpace:
    """Label space of one side of a file; must have the classes of `given`, which sets their order."""
    if entry is None and given is not None:
        return given
    if isinstance(entry, list):
        found = LabelSpace(tuple(map(str, entry)))
    elif isinstance(entry, str):
        found = load_spec(entry).label_space
    else:
        raise ValueError(f"{key} is {entry!r}; it must be a data spec or a list of class names")
    if given is None:
        return found
    extra, lacking = set(found.names) - set(given.names), set(given.names) - set(found.names)
    if extra or lacking:
        raise ValueError(
            f"{key} has other classes than asked for; only in the file: {listed(sorted(extra))}; only asked for: "
            f"{listed(sorted(lacking))}"
        )
    return given
