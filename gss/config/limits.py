"""Ranges and choices of settings, declared where a field is and checked in one place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from gss.core.errors import InputError, quoted


def limits(
    default: Any = dataclasses.MISSING,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple = (),
    length: int | None = None,
    ascending: bool = False,
) -> Any:
    """Declare a dataclass field whose value, or each element of it, has a range or a list of choices.

    Args:
        default: default of the field.
        low: smallest value allowed.
        high: largest value allowed.
        above: value that must be exceeded.
        below: value that must not be reached.
        choices: the values allowed.
        length: number of elements.
        ascending: elements must not decrease, as in (smallest, largest).
    """
    metadata = {
        "low": low,
        "high": high,
        "above": above,
        "below": below,
        "choices": choices,
        "length": length,
        "ascending": ascending,
    }
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def check_limits(settings: Any) -> None:
    """Check every field of a dataclass that `limits` declares; for `__post_init__`.

    Raises:
        InputError: a value out of its range; names the first such field.
    """
    for name, value, allowed in broken_limits(settings):
        raise InputError(f"{name} is {quoted(value)}; it must be {allowed}")


def broken_limits(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """Yield dotted name, value and what is allowed of every field out of its range, in sections too."""
    for item in dataclasses.fields(settings):
        value, name = getattr(settings, item.name), f"{prefix}{item.name}"
        if dataclasses.is_dataclass(value):
            yield from broken_limits(value, f"{name}.")
        elif item.metadata:
            allowed = _broken(item.metadata, value)
            if allowed:
                yield name, value, allowed


def _broken(rule: Any, value: Any) -> str:
    """Return what a value must be, or an empty string for one that is."""
    get = rule.get
    elements = list(value) if isinstance(value, tuple | list) else [] if value is None else [value]
    if get("choices") and value not in get("choices"):
        return f"one of {', '.join(map(str, get('choices')))}"
    if value is not None and get("length") is not None and len(elements) != get("length"):
        return f"a list of {get('length')}"
    bounds = [get(name) for name in ("low", "above", "high", "below")]
    if any(bound is not None for bound in bounds) and not all(map(_is_number, elements)):
        return "a number" if not isinstance(value, tuple | list) else "a list of numbers"
    # Written as `not (a <= b)` so that NaN fails too.
    for name, words, holds in (
        ("low", "at least", lambda element, bound: bound <= element),
        ("above", "above", lambda element, bound: bound < element),
        ("high", "at most", lambda element, bound: element <= bound),
        ("below", "below", lambda element, bound: element < bound),
    ):
        bound = get(name)
        if bound is not None and not all(holds(element, bound) for element in elements):
            return f"{words} {bound:g}"
    if get("ascending") and elements != sorted(elements):
        return "in ascending order: smallest, largest"
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
