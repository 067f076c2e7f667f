"""Weak labels: drawn where they should be, and the same before and after the geometry of an augmentation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gss.data.transforms import JointTransform, Window, sample_generator
from gss.data.weak.labels import Stroke, WeakLabels
from gss.data.weak.raster import paint_segments

K = 4


def draw_plainly(size, stroke):
    """A stroke by its definition: distance of every pixel's centre to every segment."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    radius = max(stroke.width / 2, 0.5)
    inside = np.zeros(size, bool)
    ends = stroke.xy[1:] if len(stroke.xy) > 1 else stroke.xy
    for (x0, y0), (x1, y1) in zip(stroke.xy, ends, strict=False):
        length = (x1 - x0) ** 2 + (y1 - y0) ** 2
        t = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / max(length, 1e-12), 0, 1)
        inside |= np.hypot(x - x0 - t * (x1 - x0), y - y0 - t * (y1 - y0)) <= radius + 1e-9
    return inside


coordinates = st.floats(-6, 40, width=16)
strokes = st.builds(
    Stroke,
    st.integers(0, K - 1),
    st.lists(st.tuples(coordinates, coordinates), min_size=2, max_size=5).map(np.array),
    st.floats(0.5, 9, width=16),
)
windows = st.builds(
    lambda height, width, top, left, crop, flip: Window(
        # JointTransform keeps part of the source in the crop, as here
        top=top % max(height, 1) if height > crop[0] else -(top % (crop[0] - height + 1)),
        left=left % max(width, 1) if width > crop[1] else -(left % (crop[1] - width + 1)),
        size=crop,
        scaled=(height, width),
        flip=flip,
    ),
    st.integers(3, 60),
    st.integers(3, 60),
    st.integers(0, 50),
    st.integers(0, 50),
    st.tuples(st.integers(4, 32), st.integers(4, 32)),
    st.booleans(),
)


@given(strokes)
def test_strokes_are_drawn_by_their_definition(stroke):
    drawn = WeakLabels("a", (23, 31), K, strokes=[stroke]).rasterize().labels
    np.testing.assert_array_equal(drawn != 255, draw_plainly((23, 31), stroke))
    assert set(np.unique(drawn)) <= {stroke.label, 255}


def test_thin_lines_leave_no_gap_and_touch_only_what_they_cross():
    labels = np.full((40, 60), 255, np.uint8)
    start, end = np.array([[3.3, 2.1]]), np.array([[55.2, 33.7]])
    paint_segments(labels, start, end, np.array([0.5]), np.array([1], np.uint8))
    assert (labels[:, 4:55] == 1).any(0).all()
    along = np.linspace(0, 1, 100_000)[:, None]
    crossed = np.zeros(labels.shape, bool)
    x, y = (start + along * (end - start)).astype(int).T
    crossed[y, x] = True
    assert crossed[labels == 1].all()


@given(windows, st.integers(0, 2**31))
def test_partial_masks_are_transformed_like_labels(window, seed):
    size = (19, 26)
    dense = np.random.default_rng(seed).integers(0, K, size).astype(np.uint8)
    weak = WeakLabels("a", size, K, partial=dense)
    target = weak.transform(window).rasterize()
    np.testing.assert_array_equal(target.labels, window.labels(dense))
    np.testing.assert_array_equal(target.valid, window.inside())


@given(windows, st.integers(0, 15), st.integers(0, 20), st.integers(1, 12), st.integers(1, 12))
def test_boxes_are_transformed_like_the_region_they_cover(window, top, left, height, width):
    size = (19, 26)
    box = (left, top, min(left + width, 26), min(top + height, 19))
    region = np.full(size, 0, np.uint8)
    region[box[1] : box[3], box[0] : box[2]] = 2
    weak = WeakLabels("a", size, K, boxes=[(*box, 2)], boxes_exhaustive=True, background=0, core=1.0)
    np.testing.assert_array_equal(weak.rasterize().labels, region)
    drawn = weak.transform(window).rasterize().labels
    np.testing.assert_array_equal(drawn, window.labels(region))


def test_two_transforms_are_one():
    rng = np.random.default_rng(0)
    partial = rng.integers(0, K, (20, 30)).astype(np.uint8)
    weak = WeakLabels("a", (20, 30), K, strokes=[Stroke(1, np.array([[3.5, 4.5], [20, 11]]))], partial=partial)
    doubled = weak.transform(Window(0, 0, (40, 60), (40, 60), False))
    crop = Window(top=-4, left=10, size=(50, 20), scaled=(40, 60), flip=True)
    once, twice = weak.transform(crop).rasterize(), doubled.transform(crop).rasterize()
    np.testing.assert_array_equal(once.labels, twice.labels)
    np.testing.assert_array_equal(once.valid, twice.valid)
    assert not once.valid.all() and (once.labels[~once.valid] == 255).all()


@given(st.integers(0, 1000))
def test_no_click_is_lost(seed):
    rng = np.random.default_rng(seed)
    spots = rng.permutation(50 * 70)[:40]
    clicks = [Stroke(int(rng.integers(K)), np.array([[s % 70 + 0.5, s // 70 + 0.5]]), 1.0) for s in spots]
    weak = WeakLabels("a", (50, 70), K, strokes=clicks)
    transform = JointTransform((50, 70), scale=(0.5, 1.0), max_class_ratio=1.0)
    window, _ = transform.place(np.zeros((50, 70), np.uint8), sample_generator(seed, 0, 0))
    moved = weak.transform(window)
    target = moved.rasterize()
    # The crop holds the whole scaled image, so every click is in it; several may share a pixel.
    x, y, label = moved.points.T
    spots = list(zip(y.astype(int), x.astype(int), strict=True))
    last = dict(zip(spots, label, strict=True))
    assert all(target.labels[spot] == value for spot, value in last.items())
    assert len(spots) == 40
    assert (target.labels != 255).sum() >= len(last)


def test_order_of_overlapping_labels():
    partial = np.full((20, 20), 255, np.uint8)
    partial[:10] = 3
    boxes = [(0, 0, 20, 20, 1), (8, 8, 16, 16, 2)]
    weak = WeakLabels("a", (20, 20), K, boxes=boxes, strokes=[Stroke(0, np.array([[10.5, 12.5]]), 1.0)], core=0.5)
    labels = weak.rasterize().labels
    assert labels[6, 6] == 1 and labels[12, 11] == 2
    assert labels[9, 9] == 255, "the rim of the smaller box is undecided"
    assert labels[0, 0] == 255 and labels[12, 10] == 0
    both = weak.merged(WeakLabels("a", (20, 20), K, partial=partial)).rasterize().labels
    assert (both[:10] == 3).all() and both[12, 10] == 0


def test_tags_are_those_of_the_whole_image():
    weak = WeakLabels("a", (20, 30), K, strokes=[Stroke(2, np.array([[28.5, 18.5]]))], exhaustive=True)
    crop = weak.transform(Window(0, 0, (8, 8), (20, 30), False)).rasterize()
    assert (crop.labels == 255).all()
    assert crop.tags.tolist() == [False, False, True, False] and crop.exhaustive


def test_empty_labels():
    target = WeakLabels("a", (5, 7), K).rasterize()
    assert (target.labels == 255).all() and target.valid.all() and not target.tags.any() and not target.exhaustive


def test_outside_and_clipping():
    weak = WeakLabels("a", (10, 20), K, strokes=[Stroke(0, np.array([[21.0, 5.0]]))], boxes=[(-0.5, 0, 5, 5, 1)])
    assert weak.outside() == 1  # the box reaches out by less than a pixel
    clipped = weak.clipped()
    assert clipped.outside() == 0 and clipped.strokes[0].xy.tolist() == [[20.0, 5.0]]
    assert clipped.boxes[0].tolist() == [0, 0, 5, 5, 1]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"strokes": [Stroke(7, np.zeros((1, 2)))]}, "class 7 is outside 0..3"),
        ({"boxes": [(5, 5, 5, 9, 1)]}, "no area"),
        ({"partial": np.zeros((4, 4), np.uint8)}, "partial mask is"),
        ({"partial": np.full((10, 20), 9, np.uint8)}, "partial mask holds 9"),
        ({"tags": np.zeros(3, bool)}, "tags have shape"),
    ],
)
def test_bad_labels(parts, message):
    with pytest.raises(ValueError, match=message):
        WeakLabels("a", (10, 20), K, **parts)


@pytest.mark.parametrize(("xy", "width"), [(np.zeros((0, 2)), 3), (np.full((1, 2), np.nan), 3), (np.zeros((1, 2)), 0)])
def test_bad_strokes(xy, width):
    with pytest.raises(ValueError, match="stroke"):
        Stroke(0, xy, width)
