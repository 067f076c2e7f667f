"""Values of a JSON file, checked where they are read."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gss.core.errors import InputError, quoted

LARGEST = 1e15
"""Largest number that a file may hold; beyond it integers are no longer exact as floats."""


@contextmanager
def collection_paused() -> Iterator[None]:
    """Make no garbage collection for the time of a block that makes many objects, all of which are kept.

    Otherwise it takes a fourth of the time of opening a large annotation file.
    """
    active = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if active:
            gc.enable()


class JsonValue:
    """A value of a JSON file together with its place in the file.

    Every access checks the type. The error names the file, the place (with the `id` of the list items on the way)
    and what is allowed there. A key whose value is null counts as missing.

    Args:
        value: value as the `json` module decoded it.
        above: path of the file, or the value that holds this one.
        key: key or list index in the value above.
    """

    __slots__ = ("_above", "_key", "value")

    def __init__(self, value: Any, above: Path | JsonValue, key: str | int = "") -> None:
        self.value, self._above, self._key = value, above, key

    def __getitem__(self, key: str) -> JsonValue:
        value = self.get(key)
        if value is None:
            raise self.error(f"has no {quoted(key)}" if key not in self.value else f"has null as {quoted(key)}")
        return value

    def get(self, key: str) -> JsonValue | None:
        """Return the value of a key of a mapping; None if the key is missing or null."""
        if not isinstance(self.value, dict):
            raise self.wrong("a mapping")
        value = self.value.get(key)
        return None if value is None else JsonValue(value, self, key)

    def items(self) -> Iterator[tuple[str, JsonValue]]:
        """Yield the keys and values of a mapping."""
        if not isinstance(self.value, dict):
            raise self.wrong("a mapping")
        for key, value in self.value.items():
            yield key, JsonValue(value, self, key)

    def __iter__(self) -> Iterator[JsonValue]:
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        for index, value in enumerate(self.value):
            yield JsonValue(value, self, index)

    def number(self) -> float:
        """Return a finite number."""
        if type(self.value) not in (int, float) or not -LARGEST <= self.value <= LARGEST:
            raise self.wrong("a finite number")
        return float(self.value)

    def numbers(self, count: int | None = None) -> list[float]:
        """Return a list of finite numbers, of a given length if `count` is set."""
        values = self.value
        if not isinstance(values, list) or (count is not None and len(values) != count) or not _finite(values):
            raise self.wrong(f"a list of {'' if count is None else f'{count} '}finite numbers")
        return list(map(float, values)) if int in map(type, values) else values[:]

    def integer(self) -> int:
        """Return a whole number; text such as "7" counts as one, as some tools write ids that way."""
        value = self.value
        if type(value) is int and -LARGEST <= value <= LARGEST:  # nearly always
            return value
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
            return int(value)
        if type(value) not in (int, float) or not -LARGEST <= value <= LARGEST or value != int(value):
            raise self.wrong("a whole number")
        return int(value)

    def text(self) -> str:
        """Return text."""
        if not isinstance(self.value, str):
            raise self.wrong("text")
        return self.value

    def name(self) -> int | str:
        """Return a name or a number that stands for one, such as an id or a class."""
        if not isinstance(self.value, str) and type(self.value) is not int:
            raise self.wrong("text or a whole number")
        return self.value

    def flag(self) -> bool:
        """Return whether a value is set: true, or a number other than 0."""
        if type(self.value) not in (bool, int, float):
            raise self.wrong("true, false, 0 or 1")
        return bool(self.value)

    def wrong(self, allowed: str) -> InputError:
        """Build the error for a value that is not `allowed`."""
        return self.error(f"must be {allowed}, but is {quoted(self.value)}")

    def error(self, reason: str) -> InputError:
        """Build an error about this value."""
        return InputError(f"{self.where()} {reason}")

    def where(self) -> str:
        """Return the file and the place in it, for a message."""
        steps: list[str] = []
        here: Path | JsonValue = self
        while isinstance(here, JsonValue):
            if isinstance(here._key, int):
                id = here.value.get("id") if isinstance(here.value, dict) else None
                steps.append(f"[{here._key}]" + (f" (id {quoted(id)})" if isinstance(id, int | str) else ""))
            elif here._key:
                steps.append(f".{here._key}" if here._key.isidentifier() else f"[{quoted(here._key)}]")
            here = here._above
        place = "".join(reversed(steps)).removeprefix(".")
        return f"{here}: {place}" if place else str(here)


def _finite(values: list[Any]) -> bool:
    """Return whether a list holds finite numbers alone; annotation files have millions of them, so built-ins decide."""
    if not values:
        return True
    if not {*map(type, values)} <= {int, float} or not (min(values) >= -LARGEST and max(values) <= LARGEST):
        return False
    return not math.isnan(sum(values))  # which comparisons may pass over
