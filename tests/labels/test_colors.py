"""Colours that people see: told apart also by colour-blind readers, and a background that is none."""

import numpy as np
import pytest
from color_vision import VISIONS, ciede2000, least_distance

from gss.labels.colors import (
    BACKGROUND_COLOR,
    are_grey,
    background_classes,
    class_colors,
    default_colors,
    is_grey,
    voc_colors,
)
from gss.labels.space import LabelSpace


def test_the_formula_of_distance_gives_the_published_values():
    # Sharma, Wu and Dalal 2005, table 1, pairs 1, 7, 17, 20 and 25
    pairs = [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((50, 2.5, 0), (58, 24, 15), 19.4535),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ]
    for one, other, value in pairs:
        assert ciede2000(one, other) == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize("vision", VISIONS)
def test_twenty_classes_are_told_apart_by_everybody(vision):
    colors = [*default_colors(20), BACKGROUND_COLOR, (0, 0, 0), (255, 255, 255)]
    least = least_distance(colors, vision)
    assert least > 12
    assert least_distance(default_colors(8), vision) > least + 1  # few classes are farther apart
    assert least_distance(voc_colors(20), vision) < 12  # as were those that the palette replaces


def test_the_first_colors_of_few_classes_are_those_of_many():
    assert default_colors(20)[:7] == default_colors(7)
    many = default_colors(255)
    assert len(set(many)) == 255 and many[:20] == default_colors(20)
    assert not any(is_grey(color) for color in many)


@pytest.mark.parametrize(
    ("names", "ground"),
    [
        (("background", "sheep", "dog"), (0,)),
        (("sheep", "_background_"), (1,)),
        (("BG", "a"), (0,)),
        (("other", "sheep"), (0,)),
        (("no crack", "crack"), (0,)),
        (("non_road", "road"), (0,)),
        (("class_0", "class_1"), (0,)),
        (("class_0", "class_1", "class_2"), ()),
        (("road", "other"), ()),
        (("north", "south"), ()),
        (("nose", "ear"), ()),
        (("background",), ()),
    ],
)
def test_which_classes_mean_nothing(names, ground):
    assert background_classes(names) == ground
    space = LabelSpace(names)
    assert space.background == ground
    colors = class_colors(names)
    assert [colors[index] for index in ground] == [BACKGROUND_COLOR] * len(ground)
    others = [color for index, color in enumerate(colors) if index not in ground]
    assert others == list(default_colors(len(others)))


def test_black_and_white_are_no_colors():
    assert are_grey([(0, 0, 0), (255, 255, 255)], ("background", "sheep"))
    assert not are_grey([(0, 0, 0), (255, 0, 0)], ("background", "sheep"))
    assert are_grey([(9, 200, 9), (255, 255, 255)], ("background", "sheep"))


def test_colors_of_earlier_files_that_nobody_chose_are_replaced():
    names = ("sky", "road", "car")
    old = {"names": list(names), "colors": [list(color) for color in voc_colors(3)]}
    assert LabelSpace.from_dict(old) == LabelSpace(names)
    chosen = {"names": list(names), "colors": [[1, 2, 3], [9, 9, 200], [200, 9, 9]]}
    assert LabelSpace.from_dict(chosen).colors[0] == (1, 2, 3)
    assert np.array_equal(voc_colors(3), [[128, 0, 0], [0, 128, 0], [128, 128, 0]])
