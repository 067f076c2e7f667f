"""The format of `gss weak make`."""

import numpy as np
import pytest
from PIL import Image
from weak_readers import CLASSES, SIZE, ReaderChecks

from gss.data.weak.labels import Stroke, WeakLabels
from gss.data.weak.names import ClassNames
from gss.data.weak.readers import READERS, Options
from gss.data.weak.readers.own import write_weak
from gss.labels.space import LabelSpace


@pytest.fixture
def labels():
    partial = np.full(SIZE, 255, np.uint8)
    partial[3:6, 2:9] = 3
    return WeakLabels(
        "a",
        SIZE,
        len(CLASSES),
        strokes=[Stroke(1, np.array([[3.5, 4.25], [20.0, 6.0]]), 2.0), Stroke(2, np.array([[5.5, 15.5]]))],
        boxes=np.array([[3.0, 2.0, 12.5, 10.0, 2.0]]),
        tags=np.array([True, True, True, False]),
        partial=partial,
        exhaustive=True,
    )


def test_what_is_written_is_read_again(tmp_path, labels):
    space = LabelSpace(tuple(CLASSES))
    Image.fromarray(labels.partial).save(tmp_path / "mask.png")
    write_weak(tmp_path / "a.json", labels, space, partial="mask.png")
    again = READERS["gss"](Options(ClassNames(space))).read(tmp_path / "a.json", "a", SIZE)
    np.testing.assert_array_equal(again.rasterize().labels, labels.rasterize().labels)
    np.testing.assert_array_equal(again.boxes, labels.boxes)
    assert [stroke.width for stroke in again.strokes] == [2.0, 3.0] and again.exhaustive and not again.boxes_exhaustive
    assert again.tags.tolist() == labels.tags.tolist()


class TestOwnReader(ReaderChecks):
    sample = "gss"
