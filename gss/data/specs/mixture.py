"""Mixtures: several data sets in one label space, described by a YAML spec with `domains`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from gss.core.errors import InputError, quoted, unknown_name
from gss.data.label_map import LabelMap
from gss.data.specs.labels import make_label_space
from gss.data.specs.spec import DataSpec, Domain, root_variable
from gss.labels.mapping import LabelMapping
from gss.labels.mapping_files import load_mapping
from gss.labels.names import Targets, listed, shares_of
from gss.labels.space import IGNORE_INDEX, LabelSpace

_KEYS = ("name", "root", "classes", "domains")
_DOMAIN_KEYS = ("spec", "root", "map", "unmapped", "splits")


@dataclass(frozen=True)
class _Source:
    """Domain before its labels are translated.

    Attributes:
        name: name of the domain.
        spec: its data set.
        names: its classes to those of the mixture, as `LabelMapping.from_names` takes them.
        stated: True if `names` comes from the domain's own spec and may name classes that the mixture lacks.
        unmapped: treatment of classes without an entry in `names`.
        splits: split of the mixture to split of the data set.
    """

    name: str
    spec: DataSpec
    names: Mapping[str, Targets]
    stated: bool
    unmapped: Literal["error", "drop"]
    splits: Mapping[str, str]

    def targets(self) -> list[str]:
        """Return the classes that its classes become: the target with the largest share, else the same name."""
        targets = []
        for name in self.spec.label_space.names:
            shares = shares_of(name, self.names[name]) if name in self.names else {name: 1.0}
            targets += [max(shares, key=shares.__getitem__)] if shares else []
        return list(dict.fromkeys(targets))

    def mapping(self, space: LabelSpace) -> LabelMapping:
        """Return the mapping from its classes to those of the mixture."""
        source = self.spec.label_space
        names = {name: name for name in source.names if name in space.names} | dict(self.names)
        if self.stated:
            names = {name: to for name, to in names.items() if not isinstance(to, str) or to in space.names}
        try:
            return LabelMapping.from_names(source, space, names, unmapped=self.unmapped)
        except InputError as error:
            raise InputError(f"domain {self.name!r}: {error}") from error


Load = Callable[..., DataSpec]
"""`gss.data.specs.load.load_spec`, which is handed in because it builds mixtures itself."""


def build_mixture(
    data: dict[str, Any], path: Path, root: str | Path | None, *, load: Load, builtin: Collection[str]
) -> DataSpec:
    """Build the spec of a mixture.

    The classes of the mixture are those listed, those of the domain named by `classes`, or, without that key, those
    that every domain has. `map` gives the class of the mixture for each class of a domain; without an entry it is the
    class of the same name.

    Args:
        data: keys of the YAML file.
        path: YAML file; other files are named relative to its folder.
        root: folder that roots of domains are relative to. Default: the environment variable `GSS_DATA_<NAME>`, then
            `root` of the file, then the folder of the file.
        load: reader of the specs of domains and of the data sets that mapping files name.
        builtin: names of the built-in specs.

    Raises:
        InputError: no common class, a class without a target in the mixture, a name that means two classes, a class
            that no domain annotates, an unknown key or name, or a domain whose spec is invalid. The message names
            domain and classes.
    """
    name = str(data.get("name") or path.stem)
    for key in data:
        if key not in _KEYS:
            raise InputError(f"key {quoted(key)} has no meaning in a mixture of domains; keys: {', '.join(_KEYS)}")
    own_root = path.parent / Path(data["root"]).expanduser() if data.get("root") else path.parent
    base = Path(root or os.environ.get(root_variable(name)) or own_root).expanduser()
    entries, classes = data["domains"], data.get("classes")
    if not isinstance(entries, dict) or not entries:
        raise InputError("domains must be a mapping such as {camvid: {spec: camvid}, facades: {spec: ./facades}}")
    specs = {}
    for key, entry in entries.items():
        specs[str(key)] = _domain_spec(str(key), entry, (base, path.parent), load, builtin)
    if isinstance(classes, str) and classes not in specs:
        raise unknown_name("domain", classes, specs, where="classes (a list of names, or a domain)")
    reference = specs[classes].name if isinstance(classes, str) else None
    sources = [
        _source(str(key), specs[str(key)], entry, path.parent, reference, load) for key, entry in entries.items()
    ]
    if isinstance(classes, str):
        space = specs[classes].label_space
    else:
        space = _shared_space(sources) if classes is None else make_label_space(classes)
    mappings = {source.name: source.mapping(space) for source in sources}
    _check_contradictions(mappings)
    domains = tuple(_translate(source, mappings[source.name]) for source in sources)
    annotated = {k for domain in domains for k in domain.annotated}
    never = [class_name for k, class_name in enumerate(space.names) if k not in annotated]
    if never:
        raise InputError(f"no domain annotates {', '.join(never)}: map classes to them, or take them out of classes")
    return DataSpec(name=name, label_space=space, root=base, domains=domains)


def _domain_spec(name: str, entry: Any, places: tuple[Path, Path], load: Load, builtin: Collection[str]) -> DataSpec:
    """Load the data set behind an entry of `domains`.

    Args:
        name: name of the domain.
        entry: keys of the domain.
        places: folder that roots are relative to, and that of the spec file; data sets lie beside either.
        load: see `build_mixture`.
        builtin: see `build_mixture`.
    """
    if not re.fullmatch(r"[\w.-]+", name):
        raise InputError(f"domain {quoted(name)}: a name has letters, digits, dots, dashes and underscores")
    if not isinstance(entry, dict) or not entry.get("spec"):
        raise InputError(f"domain {quoted(name)} must be a mapping with the key spec, such as {{spec: camvid}}")
    for key in entry:
        if key not in _DOMAIN_KEYS:
            raise unknown_name("key", key, _DOMAIN_KEYS, where=f"domain {quoted(name)}")
    ref = str(entry["spec"])
    beside = [place / ref for place in places if ref not in builtin and (place / ref).exists()]
    try:
        place = places[0] / str(entry["root"]) if entry.get("root") else None
        # A mixture takes the splits that a domain has; others may validate for it.
        spec = load(beside[0] if beside else ref, place).as_listed()
    except InputError as error:
        raise InputError(f"domain {quoted(name)}: {error}") from error
    if spec.domains:
        raise InputError(f"domain {quoted(name)}: {ref} is a mixture itself; list its domains here instead")
    return spec


def _source(
    name: str, spec: DataSpec, entry: dict[str, Any], folder: Path, reference: str | None, load: Load
) -> _Source:
    """Collect a domain and its class names, from its entry or its spec.

    Args:
        name: name of the domain.
        spec: its data set.
        entry: its keys.
        folder: folder of the YAML file.
        reference: name of the data set whose classes the mixture has, if it is one of the domains.
        load: see `build_mixture`.
    """
    unmapped, splits, given = entry.get("unmapped", "error"), entry.get("splits") or {}, entry.get("map", reference)
    if unmapped not in ("error", "drop"):
        raise InputError(f"domain {quoted(name)}: unmapped is {quoted(unmapped)}; it must be error or drop")
    if not isinstance(splits, dict):
        raise InputError(
            f"domain {quoted(name)}: splits is {quoted(splits)}; it must map splits to its own, such as {{train: all}}"
        )
    names: Any = {}
    stated = spec.maps.get(given) if isinstance(given, str) else None
    if stated is not None:
        names = stated
    elif isinstance(given, dict):
        names = given
    elif entry.get("map") is not None:
        names = _mapping_file(name, folder / str(given), spec, load)
    names = {str(key): target for key, target in names.items()}
    return _Source(
        name, spec, names, stated is not None, unmapped, {str(key): str(value) for key, value in splits.items()}
    )


def _mapping_file(name: str, path: Path, spec: DataSpec, load: Load) -> dict[str, Targets]:
    """Read class names to class names from a file that `gss data map` writes."""
    if not path.is_file():
        known = f", or one of the maps of {spec.name}: {listed(spec.maps)}" if spec.maps else ""
        raise InputError(
            f"domain {quoted(name)}: map {path} does not exist; give class: class, a file of 'gss data map'{known}"
        )
    try:
        mapping = load_mapping(path, source=spec.label_space, open_space=lambda name: load(name).label_space)
        return mapping.to_names()
    except InputError as error:
        raise InputError(f"domain {quoted(name)}: {error}") from error


def _shared_space(sources: list[_Source]) -> LabelSpace:
    """Return the classes that every domain has, in the order of the first."""
    targets = [source.targets() for source in sources]
    names = [name for name in targets[0] if all(name in other for other in targets)]
    if not names:
        several = "; ".join(f"{source.name}: {listed(held)}" for source, held in zip(sources, targets, strict=True))
        raise InputError(
            f"the domains have no class in common ({several}): give each a map to common names, or classes"
        )
    space = sources[0].spec.label_space
    if not all(name in space.names for name in names):
        return LabelSpace(tuple(names))
    return LabelSpace(tuple(names), tuple(space.colors[space.index(name)] for name in names))


def _check_contradictions(mappings: Mapping[str, LabelMapping]) -> None:
    """Refuse a class name that means one class in one domain and another class in another."""
    seen: dict[str, tuple[str, str]] = {}
    for domain, mapping in mappings.items():
        for name, label in zip(mapping.source.names, mapping.table.tolist(), strict=True):
            if label == IGNORE_INDEX:
                continue
            target = mapping.target.names[label]
            other, other_domain = seen.setdefault(name, (target, domain))
            if other != target:
                raise InputError(
                    f"contradictory maps: class {quoted(name)} is {quoted(other)} in domain {quoted(other_domain)} "
                    f"and {quoted(target)} in domain {quoted(domain)}; map it alike, or drop it in one of them with "
                    f"{name}: null"
                )


def _translate(source: _Source, mapping: LabelMapping) -> Domain:
    """Return the domain with its labels in the common space."""
    label_map = source.spec.label_map
    if source.spec.generator:
        # A generator draws class numbers.
        label_map = LabelMap(tuple((k,) for k in range(mapping.source.num_classes)))
    label_map = label_map.translated(mapping.table.tolist(), mapping.target.num_classes)
    return Domain(source.name, replace(source.spec, label_space=mapping.target, label_map=label_map), source.splits)
