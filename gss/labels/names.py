"""Class names as people write them: spelling, what a class is said to cover, and lists of names in messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gss.core.errors import InputError, did_you_mean
from gss.labels.space import LabelSpace

Targets = str | Sequence[str] | Mapping[str, float] | None
"""What a class maps to: a class, a list of classes it covers, their shares, or nothing. See `LabelMapping`."""


def spelling_key(name: str) -> str:
    """A name without what spellings differ in: its letters and digits alone, in lower case."""
    return "".join(filter(str.isalnum, name.casefold())) or name


def by_key(space: LabelSpace) -> dict[str, str]:
    """Class names by their `spelling_key`.

    Raises:
        ValueError: two classes differ in case, spaces and punctuation only.
    """
    keys: dict[str, str] = {}
    for name in space.names:
        key = spelling_key(name)
        if key in keys:
            raise InputError(f"classes {keys[key]!r} and {name!r} differ in case, spaces and punctuation only")
        keys[key] = name
    return keys


def shares_of(name: str, targets: Targets) -> dict[str, float]:
    """Target names with their shares.

    Args:
        name: the class that maps to them; a target that bears its name is the general class.
        targets: what it maps to.

    Raises:
        ValueError: malformed targets.
    """
    if targets is None:
        return {}
    if isinstance(targets, Mapping):
        if any(isinstance(share, bool) or not isinstance(share, int | float) for share in targets.values()):
            raise InputError(
                f"shares of {name!r} are {dict(targets)}; give numbers, such as {{sidewalk: 0.9, curb: 0.1}}"
            )
        return {str(target): float(share) for target, share in targets.items()}
    if not isinstance(targets, str | Sequence) or not targets:
        raise InputError(f"target of {name!r} is {targets!r}; give a class, a list of classes, or null to leave it out")
    several = [targets] if isinstance(targets, str) else list(dict.fromkeys(map(str, targets)))
    general = [target for target in several if spelling_key(target) == spelling_key(name)]
    return {target: (target in general if general else 1) / len(general or several) for target in several}


def require_known(kind: str, names: Iterable[str], space: LabelSpace) -> None:
    """Require that all names are classes of a space.

    Raises:
        ValueError: some are not; the message names them all, and the nearest of each.
    """
    unknown = [name for name in dict.fromkeys(names) if name not in space.names]
    if unknown:
        hints = ", ".join(f"{name!r} {did_you_mean(str(name), space.names)}".strip() for name in unknown)
        raise InputError(f"no {kind} class is called {hints}; known: {listed(space.names)}")


def listed(names: Iterable[str]) -> str:
    """The first twenty names and how many more there are."""
    names = list(names)
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "") or "none"
