"""Scribbles and clicks that others wrote."""

import json

import numpy as np
import pytest
from weak_readers import ReaderChecks, each, opened

SCRIBBLE = """<annotation><size><width>{w}</width><height>20</height></size>
<polygon><tag>plane</tag><point><X>4</X><Y>5</Y></point><point><X>14</X><Y>5</Y></point></polygon>
<polygon><tag>{tag}</tag><point><X>{x}</X><Y>15</Y></point></polygon></annotation>"""


def test_scribblesup(root):
    each(root, "ID.xml", SCRIBBLE.format(w=30, tag="background", x=9))
    data = opened(root, {"format": "scribblesup", "path": "w/{id}.xml"})
    labels = data.read(0)[1]
    assert (labels[4:7, 4:15] == 1).all() and labels[5, 3] == labels[5, 15] == 1 and labels[7, 9] == 255
    assert (labels[14:17, 8:11] == 0).all() and (labels == 0).sum() == 9
    item = data[1]
    assert item["tags"].tolist() == [True, True, False, False] and bool(item["exhaustive"])
    wide = opened(root, {"format": "scribblesup", "path": "w/{id}.xml", "width": 1}).read(0)[1]
    assert (wide == 1).sum() == 11 and (wide == 0).sum() == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SCRIBBLE.format(w=31, tag="car", x=9), r"w/a\.xml is for an image of 31x20 pixels, but image 'a' has 30x20"),
        (SCRIBBLE.format(w=30, tag="kat", x=9), r"w/a\.xml: unknown class 'kat'.*aliases or ignore.*background, aero"),
        (SCRIBBLE.format(w=30, tag="pedestrian", x=9), r"write 'aliases: {pedestrian: person}' under weak"),
        (
            SCRIBBLE.format(w=30, tag="car", x=45),
            r"1 labels of image 'a' reach outside its 30x20 pixels.*outside: clip",
        ),
        (SCRIBBLE.format(w=30, tag="car", x="left"), r"<point> needs a finite number in <X>, got 'left'"),
        ("<annotation>", r"w/a\.xml is not valid XML: no element found"),
    ],
)
def test_bad_scribbles(root, text, message):
    each(root, "ID.xml", text)
    with pytest.raises(ValueError, match=message):
        opened(root, {"format": "scribblesup", "path": "w/{id}.xml"}).read(0)


def test_ways_out_of_bad_labels(root):
    weak = {"format": "scribblesup", "path": "w/{id}.xml"}
    each(root, "ID.xml", SCRIBBLE.format(w=30, tag="pedestrian", x=45))
    labels = opened(root, {**weak, "aliases": {"pedestrian": "person"}, "outside": "clip"}).read(0)[1]
    assert labels[15, 29] == 3
    labels = opened(root, {**weak, "ignore": ["Pedestrian"]}).read(0)[1]
    assert set(np.unique(labels)) == {1, 255}


def test_clicks_of_two_files(root):
    (root / "fg.json").write_text(json.dumps({i: [{"cls": 2, "x": 7, "y": 3, "rank": 1}] for i in "abc"}))
    (root / "bg.json").write_text(json.dumps({i: [{"cls": "background", "x": 20, "y": 10}] for i in "ab"}))
    weak = {"format": "clicks", "path": ["fg.json", "bg.json"]}
    data = opened(root, weak)
    assert data.read(0)[1][3, 7] == 2 and (data.read(0)[1] == 2).sum() == 9
    assert data.read(1)[1][10, 20] == 0
    (root / "fg.json").write_text(json.dumps({"a": [{"cls": 9, "x": 7, "y": 3}], "c": [], "b": [{"x": 1}]}))
    with pytest.raises(
        ValueError, match=r"fg\.json: a\[0\]\.cls: class number 9 is outside 0\.\.3; .* from 0: background"
    ):
        opened(root, weak).read(0)
    with pytest.raises(ValueError, match=r"fg\.json: b\[0\] has no 'cls'"):
        opened(root, weak).read(1)


class TestScribbleReader(ReaderChecks):
    sample = "scribblesup"


class TestClickReader(ReaderChecks):
    sample = "clicks"
