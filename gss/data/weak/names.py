"""Class names in label files: spelling variants are accepted, another word for a class is offered as an alias."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from gss.core.errors import InputError, nearest, quoted
from gss.data.weak.errors import LabelSettingError
from gss.labels.space import LabelSpace

VOC_SHORT_NAMES = {
    "plane": "aeroplane",
    "bike": "bicycle",
    "table": "diningtable",
    "plant": "pottedplant",
    "monitor": "tvmonitor",
}
"""Class names in the scribbles of PASCAL VOC, and those of the data set."""

_LONGEST_NAME = 80  # characters of a name in a message

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
    """Look-up of class numbers by the names in label files.

    Upper and lower case, spaces, hyphens and underscores do not matter.

    Args:
        space: classes.
        aliases: additional name to class name.
        ignore: names whose objects are left out.

    Raises:
        InputError: an alias stands for no class.
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
        """Return these names with the aliases of a known vocabulary, where the classes exist and the names are free."""
        other = ClassNames(self.space)
        other._ignored = self._ignored | {_plain(name) for name in ignore} - self._numbers.keys()
        known = {_plain(a): self._numbers[_plain(n)] for a, n in aliases.items() if _plain(n) in self._numbers}
        other._numbers = known | self._numbers
        return other

    def find(self, name: object, source: object) -> int | None:
        """Return the class number of a name or number; None for a name to ignore.

        Args:
            name: name or class number in the file.
            source: file, for the message.

        Raises:
            InputError: no such class; the message offers an alias that fits.
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
            raise self._unknown(str(name), plain, source)
        return self._numbers[plain]

    def _unknown(self, name: str, plain: str, source: object) -> InputError:
        """Build the error for a name that is no class."""
        shown = name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "..."
        for group in _SYNONYMS:
            twins = [number for word, number in self._numbers.items() if word in group]
            if plain in group and twins:
                alias = f"write 'aliases: {{{name}: {self.space.names[twins[0]]}}}' under weak in the data spec"
                return LabelSettingError(f"{source}: unknown class {quoted(shown)}; {alias}")
        option = nearest(shown, self.space.names)
        hint = f", did you mean {quoted(option)}?" if option else "."
        return LabelSettingError(
            f"{source}: unknown class {quoted(shown)}{hint} Give it under aliases or ignore of weak in the data spec; "
            f"classes: {self._listed()}"
        )

    def _listed(self) -> str:
        return ", ".join(self.space.names[:20]) + (", ..." if len(self) > 20 else "")

    def background(self) -> int | None:
        """Return the number of the class called background; None if there is none."""
        return next((self._numbers[word] for word in ("background", "bg") if word in self._numbers), None)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).lower()
