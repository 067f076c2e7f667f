"""Masks of COCO annotations equal those of pycocotools; damaged ones are refused with file and annotation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from gss.core.errors import InputError
from gss.core.json_value import JsonValue
from gss.data.weak.raster import unpack_counts
from gss.data.weak.segmentation import read_segmentation


def record(value):
    return JsonValue([{"id": 17, "segmentation": value}], "file.json").__iter__().__next__().get("segmentation")


def mask(value, size):
    return read_segmentation(record(value), size).mask(size)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 100), st.floats(0, 1))
def test_run_lengths_equal_those_of_pycocotools(height, width, seed, share):
    drawn = np.random.default_rng(seed).random((height, width)) < share
    packed = coco_mask.encode(np.asfortranarray(drawn.astype(np.uint8)))["counts"].decode()
    counts = unpack_counts(packed)
    for value in (packed, counts.tolist()):
        runs = read_segmentation(record({"size": [height, width], "counts": value}), (height, width))
        assert np.array_equal(runs.mask((height, width)), drawn) and runs.area() == drawn.sum()


def circle(radius, center=25.0):
    angles = np.linspace(0, 2 * math.pi, 200, endpoint=False)
    return np.stack([center + radius * np.cos(angles), center + radius * np.sin(angles)], 1).ravel().tolist()


def test_polygons_have_the_area_of_their_outline():
    rectangle = mask([[2, 1, 7, 1, 7, 4, 2, 4]], (6, 9))
    assert rectangle[1:4, 2:7].all() and rectangle.sum() == 15
    for radius in (5, 20):
        drawn = mask([circle(radius)], (50, 50))
        assert drawn.sum() == pytest.approx(math.pi * radius**2, rel=0.03)
        assert read_segmentation(record([circle(radius)]), None).area() == pytest.approx(math.pi * radius**2, rel=1e-3)
    two = mask([[0, 0, 2, 0, 2, 2, 0, 2], [4, 4, 6, 4, 6, 6, 4, 6]], (6, 9))
    assert two.sum() == 8 and two[:2, :2].all() and two[4:, 4:6].all()
    assert mask([[-5, -5, 3, -5, 3, 3, -5, 3]], (6, 9)).sum() == 9  # what reaches outside is cut off


@pytest.mark.parametrize("value", [None, [], [[]], [[1, 2, 3, 4]]])
def test_no_mask(value):
    assert read_segmentation(record(value), (6, 9)) is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (3, "must be a list, but is 3"),
        ([1, 2, 3], "must be a list of finite numbers, but is 1"),
        ([[1, 2, 3, 4, 5, 6, 7]], "has 7 numbers; x and y"),
        ([[1, 2, 3, None, 5, 6]], "finite numbers"),
        ([[1, 2, 3, math.nan, 5, 6]], "finite numbers"),
        ([[1, 2, 3, 10**400, 5, 6]], "finite numbers"),
        ([[1, 2, 3, "4", 5, 6]], "finite numbers"),
        ([[1, 2, 3, 1e9, 5, 6]], "far outside the picture of 9x6 pixels"),
        ({"counts": [54]}, "has no 'size'"),
        ({"size": [6, 9]}, "has no 'counts'"),
        ({"size": [9, 6], "counts": [54]}, r"size must be \(H, W\), \[6, 9\] as the picture has"),
        ({"size": 54, "counts": [54]}, "a list of 2 finite numbers"),
        ({"size": [6, 9], "counts": [1, 2]}, "covers 3 pixels in runs; the picture has 54"),
        ({"size": [6, 9], "counts": [60, -6]}, "covers 54"),
        ({"size": [6, 9], "counts": ""}, "compressed run lengths"),
        ({"size": [6, 9], "counts": "P"}, "compressed run lengths"),
        ({"size": [6, 9], "counts": "PPPPPPPPPPPP0"}, "compressed run lengths"),
        ({"size": [6, 9], "counts": "\u00e9"}, "compressed run lengths"),
        ({"size": [6, 9], "counts": "11"}, "covers 2 pixels"),
        ({"size": [6, 9], "counts": {}}, "finite numbers"),
    ],
)
def test_damage_names_file_and_annotation(value, reason):
    with pytest.raises(InputError, match=rf"^file\.json: \[0\] \(id 17\)\.segmentation.*{reason}"):
        read_segmentation(record(value), (6, 9))


def test_run_lengths_of_another_picture():
    runs = read_segmentation(record({"size": [2, 2], "counts": [4]}), None)
    with pytest.raises(InputError, match=r"of size \[2, 2\] \(H, W\), the picture has \[6, 9\]"):
        runs.mask((6, 9))
