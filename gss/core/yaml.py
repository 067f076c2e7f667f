"""Strict reading of YAML files."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from gss.core.errors import InputError, quoted, shorten
from gss.core.files import read_text

_TAG = "tag:yaml.org,2002:"
_SURPRISING = {_TAG + kind for kind in ("bool", "null", "int", "float", "timestamp")}


class _StrictLoader(yaml.SafeLoader):
    """YAML loader that refuses a key given twice (PyYAML keeps the last one silently)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
        for key in keys:
            if keys.count(key) > 1:
                line = node.start_mark.line + 1
                raise InputError(f"{quoted(key)} is given twice in the block at line {line}; names must be unique")
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        # Python refuses to read more than 4300 decimal digits.
        value = super().construct_yaml_int(node) if len(node.value) < 999 else None  # type: ignore[no-untyped-call]
        if value is None or not -(2**63) <= value < 2**64:
            line = node.start_mark.line + 1
            raise InputError(f"line {line}: number {quoted(node.value)} does not fit into 64 bits")
        return int(value)


_StrictLoader.add_constructor(_TAG + "int", _StrictLoader.construct_yaml_int)


def read_yaml(
    path: Path, *, names: Collection[str] = (), tables: Collection[str] = (), values: Collection[str] = ()
) -> Any:
    """Return the content of a YAML file, with or without a byte-order mark.

    YAML reads words such as `no`, `on`, `null` and `2020-01-01` as other things than text. In the given places, where
    names are expected, they are refused unless quoted. A place is a path of keys such as `domains.*.map`.

    Args:
        path: the file.
        names: places of lists of names, and of mappings whose keys are names.
        tables: places of mappings from names to names, lists of names or null.
        values: places of mappings whose values are names.

    Raises:
        InputError: the file cannot be read, is not valid YAML, gives a key twice, is nested too deeply, or holds a name
            that YAML reads as something else. Only the first names the file.
    """
    text = read_text(path)
    try:
        loader = _StrictLoader(text)
        try:
            node = loader.get_single_node()  # type: ignore[no-untyped-call]
            if node is None:
                return None
            _check_names(loader, node, (), {"names": names, "tables": tables, "values": values})
            return loader.construct_document(node)  # type: ignore[no-untyped-call]
        finally:
            loader.dispose()  # type: ignore[no-untyped-call]
    except InputError:
        raise
    except RecursionError as error:
        raise InputError("nested too deeply to be read") from error
    # PyYAML reports a malformed tagged or numeric value (`!!int x`, 2001-99-99) as one of the others.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise InputError(f"not valid YAML: {' '.join(str(error).split())}") from error


def _check_names(
    loader: _StrictLoader, node: yaml.Node, place: tuple[str, ...], kinds: Mapping[str, Collection[str]]
) -> None:
    """Check the names at the places of `read_yaml` in a mapping and in those below it."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        here = (*place, str(key.value))
        fitting = {kind for kind, places in kinds.items() if any(_matches(other, here) for other in places)}
        entries = value.value if isinstance(value, yaml.MappingNode) else []
        if fitting & {"names", "tables"}:
            _check_list(loader, [entry for entry, _ in entries])
        if "names" in fitting and isinstance(value, yaml.SequenceNode):
            _check_list(loader, value.value)
        if fitting & {"tables", "values"}:
            for _, target in entries:
                targets = target.value if isinstance(target, yaml.SequenceNode) else [target]
                if isinstance(target, yaml.MappingNode):
                    targets = [entry for entry, _ in target.value]
                elif "tables" in fitting and target.tag == _TAG + "null":
                    targets = []
                _check_list(loader, targets)
        if len(here) < 4:
            _check_names(loader, value, here, kinds)


def _matches(pattern: str, place: tuple[str, ...]) -> bool:
    parts = pattern.split(".")
    return len(parts) == len(place) and all(part in ("*", key) for part, key in zip(parts, place, strict=True))


def _check_list(loader: _StrictLoader, nodes: Iterable[yaml.Node]) -> None:
    """Refuse plain scalars that are read as something else than their own text."""
    for node in nodes:
        if not isinstance(node, yaml.ScalarNode) or node.style or node.tag not in _SURPRISING:
            continue
        value = loader.construct_object(node)  # type: ignore[no-untyped-call]
        if str(value) == node.value and node.tag != _TAG + "timestamp":
            continue
        line = node.start_mark.line + 1
        if not node.value:
            raise InputError(f"line {line}: a name is empty")
        raise InputError(
            f"line {line}: YAML reads the name {shorten(node.value)} as {quoted(value)}; put it in quotes: "
            f"'{shorten(node.value)}'"
        )
