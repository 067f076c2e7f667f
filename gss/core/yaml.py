"""Strict reading of YAML files."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from gss.core.errors import InputError
from gss.core.files import read_text


class _StrictLoader(yaml.SafeLoader):
    """YAML loader that refuses a key given twice (PyYAML keeps the last one silently)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
        for key in keys:
            if keys.count(key) > 1:
                line = node.start_mark.line + 1
                raise InputError(f"{key!r} is given twice in the block at line {line}; names must be unique")
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file, with or without a byte-order mark.

    Raises:
        InputError: the file cannot be read, is not valid YAML, gives a key twice or is nested too deeply. Only the
            first names the file.
    """
    text = read_text(path)
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except InputError:
        raise
    except RecursionError as error:
        raise InputError("nested too deeply to be read") from error
    # PyYAML reports a malformed tagged or numeric value (`!!int x`, 2001-99-99) as one of the others.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise InputError(f"not valid YAML: {' '.join(str(error).split())}") from error
