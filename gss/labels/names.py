"""Class names: spelling, targets of mappings, and lists of names in messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gss.core.errors import InputError, nearest, quoted
from gss.labels.space import LabelSpace

Targets = str | Sequence[str] | Mapping[str, float] | None
"""Target of a class: a class, a list of covered classes, {class: share}, or None. See `LabelMapping`."""


def spelling_key(name: str) -> str:
    """Return the letters and digits of a name in lower case, which are equal for all its spellings."""
    return "".join(filter(str.isalnum, name.casefold())) or name


def by_key(space: LabelSpace) -> dict[str, str]:
    """Return class names by their `spelling_key`.

    Raises:
        InputError: two classes differ in case, spaces and punctuation only.
    """
    keys: dict[str, str] = {}
    for name in space.names:
        key = spelling_key(name)
        if key in keys:
            raise InputError(
                f"classes {quoted(keys[key])} and {quoted(name)} differ in case, spaces and punctuation only"
            )
        keys[key] = name
    return keys


def shares_of(name: str, targets: Targets) -> dict[str, float]:
    """Return target names with their shares.

    Args:
        name: class that maps to them; a target of the same name is the general class.
        targets: targets as in a mapping file.

    Raises:
        InputError: malformed targets.
    """
    if targets is None:
        return {}
    if isinstance(targets, Mapping):
        if any(isinstance(share, bool) or not isinstance(share, int | float) for share in targets.values()):
            raise InputError(
                f"shares of {quoted(name)} are {dict(targets)}; give numbers, such as {{sidewalk: 0.9, curb: 0.1}}"
            )
        return {str(target): float(share) for target, share in targets.items()}
    if not isinstance(targets, str | Sequence) or not targets:
        raise InputError(
            f"target of {quoted(name)} is {quoted(targets)}; give a class, a list of classes, or null to leave it out"
        )
    several = [targets] if isinstance(targets, str) else list(dict.fromkeys(map(str, targets)))
    general = [target for target in several if spelling_key(target) == spelling_key(name)]
    return {target: (target in general if general else 1) / len(general or several) for target in several}


def require_known(kind: str, names: Iterable[str], space: LabelSpace) -> None:
    """Require that all names are classes of a space.

    Raises:
        InputError: some are not; the message names them all, and the nearest of each.
    """
    unknown = [name for name in dict.fromkeys(names) if name not in space.names]
    if unknown:
        close = {name: nearest(str(name), space.names) for name in unknown}
        hints = (
            f"{quoted(name)}" + (f" (did you mean {quoted(option)}?)" if option else "")
            for name, option in close.items()
        )
        raise InputError(f"no {kind} class is called {', '.join(hints)}; known: {listed(space.names)}")


def listed(names: Iterable[str]) -> str:
    """Return the first twenty names and the number of the others as text."""
    names = list(names)
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "") or "none"
