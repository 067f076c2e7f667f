"""Results with names: frozen dataclasses that become JSON in one way."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

NOT_IN_JSON: dict[str, Any] = {"json": False}
"""`metadata` of a dataclass field that `Record.to_json` leaves out."""


class Record:
    """Base of frozen dataclasses that hold results.

    A key of the JSON is the name of an attribute. `result["miou"]` is the same as `result.miou`.

    Attributes:
        schema_version: version of the JSON, written beside the values; `None` for a part of another result.
    """

    schema_version: ClassVar[int | None] = None

    def __getitem__(self, name: str) -> Any:
        """Return the attribute of this name."""
        try:
            return getattr(self, name)
        except AttributeError:
            raise KeyError(name) from None

    def to_json(self) -> dict[str, Any]:
        """Return all fields in types that JSON has, except those marked `NOT_IN_JSON`."""
        assert dataclasses.is_dataclass(self)
        version = {} if self.schema_version is None else {"schema_version": self.schema_version}
        fields = [field for field in dataclasses.fields(self) if field.metadata.get("json", True)]
        return version | {field.name: plain(getattr(self, field.name)) for field in fields}


def plain(value: Any) -> Any:
    """Return a value of dataclasses, mappings, sequences, numbers and texts in types that JSON has."""
    if isinstance(value, Record):
        return value.to_json()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value
