"""Colours in which people see classes: one table, whose colours colour-blind readers tell apart too.

They have nothing to do with the colours of the maskige, which are made to be far apart for a network (`gss palette`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

Color = tuple[int, int, int]

BACKGROUND_COLOR: Color = (52, 58, 66)
"""Colour of a background in a mask; over a photograph it is not painted at all."""

# Found by a search over colours of a grid of sRGB for the largest least distance: any two of the twenty, and each and
# black (void), white (no label) and `BACKGROUND_COLOR`, are at least 12 apart in CIEDE2000 (Sharma, Wu and Dalal 2005),
# as everybody sees them, under deuteranopia and under protanopia, both as simulated by Machado et al. (2009) and by
# Vienot et al. (1999). The order lets few classes have colours that are farther apart.
_COLORS = (
    *("a528ff", "a58c00", "734000", "ffd700", "008c73", "ffbeff", "ff8ca5", "735a8c", "5a2873", "f0a573"),
    *("14d7be", "d773ff", "0000d7", "be73a5", "005a40", "737340", "f04073", "000040", "401400", "a5ffbe"),
)

_BACKGROUND = re.compile(r"(the )?(background|back ground|backdrop|bg)")
# What the first of two classes is called where it means "everything else".
_REST = re.compile(r"(other|others|rest|remainder|else|none|nothing|negative|class ?0|0|(no|not|non)\b.*)")


def voc_colors(num_classes: int) -> tuple[Color, ...]:
    """Return the colours of PASCAL VOC from number 1 on.

    The bits of the class number become the high bits of R, G and B in turn, so that none is repeated below 256.

    Args:
        num_classes: number of colours, at most 255.
    """
    colors = []
    for number in range(1, num_classes + 1):
        rgb = [0, 0, 0]
        for bit in range(8):
            rgb[bit % 3] |= ((number >> bit) & 1) << (7 - bit // 3)
        colors.append((rgb[0], rgb[1], rgb[2]))
    return tuple(colors)


def default_colors(num_classes: int) -> tuple[Color, ...]:
    """Return distinct colours for classes without given ones; none is grey, black or white.

    The first 20 are told apart with and without colour blindness; further ones are distinct numbers only.

    Args:
        num_classes: number of colours, at most 255.

    Returns:
        `(r, g, b)` of each class, each 0..255.
    """
    first = [_rgb(code) for code in _COLORS[:num_classes]]
    taken = {*map(_rgb, _COLORS), BACKGROUND_COLOR}
    further = (color for color in voc_colors(255) if color not in taken and not is_grey(color))
    return (*first, *(color for color, _ in zip(further, range(num_classes - len(first)), strict=False)))


def class_colors(names: Sequence[str]) -> tuple[Color, ...]:
    """Return the colour of each class: `BACKGROUND_COLOR` for a background, `default_colors` in turn for the others."""
    ground = background_classes(names)
    others = iter(default_colors(len(names) - len(ground)))
    return tuple(BACKGROUND_COLOR if index in ground else next(others) for index in range(len(names)))


def background_classes(names: Sequence[str]) -> tuple[int, ...]:
    """Return the numbers of the classes that mean "nothing": they are not painted over a photograph.

    These are the classes called background, and the first of two classes that is called other, rest, none, `class_0`,
    "no X", "not X" or similar.
    """
    words = [re.sub(r"[\W_]+", " ", name).strip().lower() for name in names]
    found = tuple(index for index, word in enumerate(words) if _BACKGROUND.fullmatch(word))
    if not found and len(words) == 2 and _REST.fullmatch(words[0]):
        found = (0,)
    return found if len(found) < len(words) else ()


def only_object(names: Sequence[str]) -> int | None:
    """Return the class that is not the background where there are two; a mean over both says little about it."""
    background = background_classes(names)
    return 1 - background[0] if len(names) == 2 and len(background) == 1 else None


def is_grey(color: Sequence[int]) -> bool:
    """Return whether a colour is black, white or grey."""
    return max(color) == min(color)


def are_grey(colors: Iterable[Sequence[int]], names: Sequence[str]) -> bool:
    """Return whether all classes but the background are black, white or grey, so that they are no colours at all."""
    ground = background_classes(names)
    return all(is_grey(color) for index, color in enumerate(colors) if index not in ground)


def _rgb(code: str) -> Color:
    return int(code[:2], 16), int(code[2:4], 16), int(code[4:], 16)
