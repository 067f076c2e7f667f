"""The mapping between the classes of two data sets: from a file, by name, by the MSeg table, or by their specs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from gss.core.errors import InputError
from gss.core.files import read_json
from gss.core.lookup.run_folders import find_pipeline
from gss.data.specs.load import builtin_specs, load_spec
from gss.data.specs.spec import DataSpec
from gss.labels.mapping import LabelMapping
from gss.labels.mapping_files import load_mapping
from gss.labels.mseg import MSegColumn, MSegTaxonomy
from gss.labels.names import spelling_key
from gss.labels.space import LabelSpace


def read_mapping(path: str | Path, source: LabelSpace | None = None, target: LabelSpace | None = None) -> LabelMapping:
    """Read a mapping file whose sides may name data specs; arguments and errors are those of `load_mapping`."""
    return load_mapping(path, source, target, open_space=lambda name: load_spec(name).label_space)


def find_mapping(
    source: DataSpec | LabelSpace,
    target: DataSpec | LabelSpace,
    *,
    file: str | Path | None = None,
    mseg: MSegTaxonomy | None = None,
) -> tuple[LabelMapping, str]:
    """Return the mapping from the classes of one data set (or model) to those of another.

    The first of these is used: the file; the names, if both have the same classes; the MSeg table, by way of the
    universal classes; the entry of one spec about the other under `maps`, reversed if necessary; equal spelling.

    Args:
        source: data spec, or label space of a model.
        target: likewise.
        file: YAML file, see `gss.labels.mapping_files.load_mapping`.
        mseg: MSeg table.

    Returns:
        The mapping and its origin in words.

    Raises:
        InputError: the file or an entry is wrong, a data set has no column in the table, or no class is mapped.
    """
    source, target = _informed(source), _informed(target)
    from_space, to_space = source.label_space, target.label_space
    if file is not None:
        return read_mapping(file, from_space, to_space), f"from {file}"
    if set(from_space.names) == set(to_space.names):
        same_names = {name: name for name in from_space.names}
        return LabelMapping.from_names(from_space, to_space, same_names), "the classes are the same"
    if mseg is not None:
        universal = LabelMapping.identity(mseg.universal)
        up = down = universal
        if from_space != mseg.universal:
            up = mseg.to_universal(_column(source, "to", mseg), from_space)
        if to_space != mseg.universal:
            down = mseg.from_universal(_column(target, "from", mseg), to_space)
        return _general_first(up.then(down)), "by the MSeg table"
    forward, backward = _entry(source, target), _entry(target, source)
    try:
        if forward is not None:
            mapping = LabelMapping.from_names(from_space, to_space, forward)
            return mapping, f"by what {source.name} says of {target.name}"
        if backward is not None:
            back = LabelMapping.from_names(to_space, from_space, backward)
            return back.inverse(), f"by what {target.name} says of {source.name}, reversed"
    except InputError as error:
        raise InputError(f"maps of {source.name if forward is not None else target.name}: {error}") from error
    return LabelMapping.by_spelling(from_space, to_space), "by spelling"


def open_side(ref: str, mseg: MSegTaxonomy | None = None) -> DataSpec:
    """Return the classes of a data spec, a pipeline folder, a column of the MSeg table, or its universal classes."""
    model = _prior_config(ref)
    if model is not None:
        try:
            names = read_json(model)["id2label"].values()
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{model} names no classes: it has no mapping id2label") from error
        return DataSpec(name="the model", label_space=LabelSpace(tuple(names)))
    if mseg is not None and ref not in builtin_specs():
        if ref == "universal":
            return DataSpec(name=ref, label_space=mseg.universal)
        if ref in mseg.columns:
            column = MSegColumn(ref)
            return DataSpec(name=ref, label_space=mseg.classes(ref), mseg={"to": column, "from": column})
    return load_spec(ref)


def _prior_config(ref: str) -> Path | None:
    """Return the settings of the prior in the pipeline that a path means; None for a data set."""
    folder = Path(ref).expanduser()
    if not folder.is_dir() or ref in builtin_specs():
        return None
    config = folder / "prior" / "config.json"
    if not config.is_file():
        try:
            config = find_pipeline(folder) / "prior" / "config.json"
        except InputError:
            return None
    return config if config.is_file() else None


def _informed(side: DataSpec | LabelSpace) -> DataSpec:
    """Return a spec; without `mseg` and `maps` it gets those of a built-in spec with the same classes."""
    spec = DataSpec(name="the model", label_space=side) if isinstance(side, LabelSpace) else side
    if not spec.mseg and not spec.maps:
        for other in _builtin():
            if other.label_space.names == spec.label_space.names and (other.mseg or other.maps):
                return replace(spec, mseg=other.mseg, maps=other.maps)
    return spec


@cache
def _builtin() -> tuple[DataSpec, ...]:
    """Return all built-in specs; they are read once because a matrix of mappings uses them many times."""
    return tuple(map(load_spec, builtin_specs()))


def _column(spec: DataSpec, direction: str, mseg: MSegTaxonomy) -> MSegColumn:
    if direction not in spec.mseg:
        raise InputError(
            f"data set {spec.name!r} names no column of the MSeg table; add mseg: COLUMN to its spec, with one of: "
            + ", ".join(mseg.columns)
        )
    return spec.mseg[direction]


def _general_first(mapping: LabelMapping) -> LabelMapping:
    """Give a divided class entirely to the target of the same name; its universal class may have another name."""
    names = mapping.to_names()
    for name, targets in mapping.divided.items():
        if spelling_key(name) in map(spelling_key, targets):
            names[name] = targets
    return LabelMapping.from_names(mapping.source, mapping.target, names)


def _entry(spec: DataSpec, other: DataSpec) -> Mapping[str, Any] | None:
    """Return the entry of a spec about another data set, or about one that has all classes of the other."""
    known = set(other.label_space.names)
    for name, names in spec.maps.items():
        if name == other.name:
            return names
        if name in builtin_specs() and known <= set(load_spec(name).label_space.names):
            return {
                own: target if not isinstance(target, str) or target in known else None for own, target in names.items()
            }
    return None
