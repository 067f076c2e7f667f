"""Class names of label files: spelling is forgiven, another word for a class is offered as an alias."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from gss.core.errors import InputError, did_you_mean
from gss.labels.space import LabelSpace

VOC_SHORT_NAMES = {
    "plane": "aeroplane",
    "bike": "bicycle",
    "table": "diningtable",
    "plant": "pottedplant",
    "monitor": "tvmonitor",
}
"""Names that the scribbles of PASCAL VOC use in place of the data set's own."""

_SYNONYMS = (
    {"aeroplane", "airplane", "plane"},
    {"bicycle", "bike"},
    {"diningtable", "table"},
    {"motorbike", "motorcycle"},
    {"pottedplant", "plant"},
    {"tvmonitor", "monitor", "tv"},
    {"sofa", "couch"},
    {"person", "pedestrian", "people", "human"},
    {"rider", "bicyclist", "cyclist"},
    {"car", "automobile"},
    {"pavement", "sidewalk"},
    {"tree", "vegetation", "trees"},
    {"sign", "signsymbol", "trafficsign"},
    {"pole", "columnpole"},
    {"background", "bg"},
)


class ClassNames:
    """Names in label files to class numbers.

    Upper and lower case, spaces, hyphens and underscores do not matter.

    Args:
        space: the classes.
        aliases: further name to class name.
        ignore: names whose objects are left out.

    Raises:
        ValueError: an alias leads to no class.
    """

    def __init__(
        self, space: LabelSpace, aliases: Mapping[str, str] | None = None, ignore: Collection[str] = ()
    ) -> None:
        self.space = space
        self._numbers = {_plain(name): number for number, name in enumerate(space.names)}
        self._ignored = {_plain(name) for name in ignore}
        for alias, name in (aliases or {}).items():
            self._numbers[_plain(str(alias))] = space.index(str(name))

    def __len__(self) -> int:
        return self.space.num_classes

    def extended(self, aliases: Mapping[str, str], ignore: Collection[str] = ()) -> ClassNames:
        """These names and, where the classes exist and the names are free, the aliases of a known vocabulary."""
        other = ClassNames(self.space)
        other._ignored = self._ignored | {_plain(name) for name in ignore} - self._numbers.keys()
        known = {_plain(a): self._numbers[_plain(n)] for a, n in aliases.items() if _plain(n) in self._numbers}
        other._numbers = known | self._numbers
        return other

    def find(self, name: object, source: object) -> int | None:
        """Class number of a name (or of a class number); None for a name to ignore.

        Args:
            name: as in the file.
            source: file for the message.

        Raises:
            ValueError: no such class; offers an alias when there is one that fits.
        """
        if isinstance(name, int) and not isinstance(name, bool):
            if not 0 <= name < len(self):
                raise InputError(
                    f"{source}: class number {name} is outside 0..{len(self) - 1}; numbers are places in the list of "
                    f"classes, counted from 0: {self._listed()}"
                )
            return name
        plain = _plain(str(name))
        if plain in self._ignored:
            return None
        if plain not in self._numbers:
            raise InputError(f"{source}: unknown class {str(name)!r}; {self._offer(str(name), plain)}")
        return self._numbers[plain]

    def _offer(self, name: str, plain: str) -> str:
        for group in _SYNONYMS:
            twins = [number for word, number in self._numbers.items() if word in group]
            if plain in group and twins:
                return f"write 'aliases: {{{name}: {self.space.names[twins[0]]}}}' under weak in the data spec"
        hint = did_you_mean(name, self.space.names)
        return f"{hint} give it under aliases or ignore of weak in the data spec; classes: {self._listed()}".strip()

    def _listed(self) -> str:
        return ", ".join(self.space.names[:20]) + (", ..." if len(self) > 20 else "")

    def background(self) -> int | None:
        """Number of the class called background, if there is one."""
        return next((self._numbers[word] for word in ("background", "bg") if word in self._numbers), None)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).lower()
