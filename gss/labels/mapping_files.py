"""Label mappings as YAML files and as text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from gss.core.errors import InputError, quoted, unknown_name
from gss.core.files import atomic_path
from gss.core.yaml import read_yaml
from gss.labels.mapping import LabelMapping
from gss.labels.names import listed
from gss.labels.space import LabelSpace

_KEYS = ("from", "to", "map", "unmapped", "one_to_one")


def load_mapping(
    path: str | Path,
    source: LabelSpace | None = None,
    target: LabelSpace | None = None,
    *,
    open_space: Callable[[str], LabelSpace],
) -> LabelMapping:
    """Read a mapping file.

    It holds `from` and `to` (a data spec or a list of class names each) and `map`, which names every class of `from`:
    `class: target`, `class: [several, targets]`, `class: {first: 0.9, second: 0.1}`, or `class: null` to drop it.
    `unmapped: drop` drops the classes that `map` does not mention; `one_to_one: true` refuses two classes with one
    target.

    Args:
        path: YAML file.
        source: label space in whose order the result is; None: that of the file.
        target: likewise.
        open_space: function from the name of a data set to its label space.

    Raises:
        InputError: malformed or incomplete, unknown classes, or made for other classes; names the file.
    """
    try:
        data = read_yaml(Path(path), names=("from", "to"), tables=("map",))
        if not isinstance(data, dict) or not isinstance(data.get("map"), dict):
            raise InputError("must be a YAML mapping with from, to and map: {class: class}")
        for key in data:
            if key not in _KEYS:
                raise unknown_name("key", key, _KEYS)
        if data.get("unmapped", "error") not in ("error", "drop"):
            raise InputError(f"unmapped is {quoted(data['unmapped'])}; it must be error or drop")
        names = {str(name): targets for name, targets in data["map"].items()}
        return LabelMapping.from_names(
            _space(data.get("from"), "from", source, open_space),
            _space(data.get("to"), "to", target, open_space),
            names,
            unmapped=data.get("unmapped", "error"),
            one_to_one=bool(data.get("one_to_one", False)),
        )
    except InputError as error:
        raise InputError(f"mapping {path}: {error}") from error


def save_mapping(mapping: LabelMapping, path: str | Path, *, source: str = "", target: str = "") -> None:
    """Write a mapping file that `load_mapping` reads back and a person can correct.

    Args:
        mapping: mapping to write.
        path: YAML file, replaced if it exists.
        source: name of a data spec to write; empty: the classes are listed.
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
    """Return a text table of source classes and targets, then the dropped, unreachable and common classes."""
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


def _space(entry: Any, key: str, given: LabelSpace | None, open_space: Callable[[str], LabelSpace]) -> LabelSpace:
    """Return the label space of one side of a file; it must have the classes of `given`, which sets their order."""
    if entry is None and given is not None:
        return given
    if isinstance(entry, list):
        space = LabelSpace(tuple(map(str, entry)))
    elif isinstance(entry, str):
        space = open_space(entry)
    else:
        raise InputError(f"{key} is {quoted(entry)}; it must be a data spec or a list of class names")
    if given is None:
        return space
    extra, lacking = set(space.names) - set(given.names), set(given.names) - set(space.names)
    if extra or lacking:
        raise InputError(
            f"{key} has other classes than asked for; only in the file: {listed(sorted(extra))}; only asked for: "
            f"{listed(sorted(lacking))}"
        )
    return given
