"""Label spaces: validation, round trip, default colours."""

import json

import pytest

from gss.labels.space import LabelSpace, default_colors


def test_round_trip_through_json():
    space = LabelSpace(("sky", "road"), ((1, 2, 3), (4, 5, 6)))
    assert LabelSpace.from_dict(json.loads(json.dumps(space.to_dict()))) == space
    assert space.num_classes == 2


def test_default_colors_are_distinct_and_leave_black_to_void():
    colors = default_colors(255)
    assert len(set(colors)) == 255
    assert (0, 0, 0) not in colors
    assert LabelSpace(("a", "b")).colors == colors[:2]


@pytest.mark.parametrize(
    ("names", "colors", "message"),
    [
        (("a", "b", "a"), (), "repeated: a"),
        ((), (), "1 to 255 classes"),
        (tuple(map(str, range(256))), (), "got 256"),
        (("a", " "), (), "class 1 has an empty name"),
        (("a", "b"), ((0, 0, 0),), "2 class names but 1 colours"),
        (("a",), ((0, 0, 256),), "colour of class 'a'"),
        (("a",), ((0, 0),), "colour of class 'a'"),
        (("a",), ("red",), "colour of class 'a'"),
    ],
)
def test_bad_label_spaces(names, colors, message):
    with pytest.raises(ValueError, match=message):
        LabelSpace(names, colors)


def test_unknown_name_gets_a_suggestion():
    with pytest.raises(ValueError, match="did you mean 'road'"):
        LabelSpace(("sky", "road")).index("raod")


def test_from_dict_names_the_missing_key():
    with pytest.raises(ValueError, match="'names'"):
        LabelSpace.from_dict({"classes": ["a"]})
