"""Masks and polygons that others wrote."""

import json

import numpy as np
import pytest
from PIL import Image
from weak_readers import SIZE, ReaderChecks, each, opened


def test_masks_coded_by_255_and_by_the_number_of_classes(root):
    mask = np.full(SIZE, 255, np.uint8)
    mask[2:5, 3:9], mask[10:, :4] = 2, 0
    for id, unlabelled in (("a", 255), ("b", 4), ("c", 4)):
        Image.fromarray(np.where(mask == 255, unlabelled, mask).astype(np.uint8)).save(root / f"w/{id}.png")
    raw = np.array(Image.open(root / "w/c.png"))
    raw[0, 0] = 255  # padding beside the other code
    Image.fromarray(raw).save(root / "w/c.png")
    data = opened(root, {"format": "masks", "path": "w/{id}.png"})
    with pytest.warns(UserWarning) as said:
        for index in range(3):
            np.testing.assert_array_equal(data.read(index)[1], mask)
    count = (mask == 255).sum()
    assert [f"b.png marks {count} unlabelled pixels with 4" in str(warning.message) for warning in said] == [True]
    assert data.weak.reader.coding == "4 (the number of classes)"
    assert not data[0]["exhaustive"]
    Image.fromarray(np.full(SIZE, 7, np.uint8)).save(root / "w/a.png")
    with pytest.raises(ValueError, match=r"w/a\.png holds 7; allowed are classes 0\.\.3.*values: raw"):
        data.read(0)
    Image.fromarray(mask[:, :-1]).save(root / "w/a.png")
    with pytest.raises(ValueError, match=r"w/a\.png is for an image of 29x20"):
        data.read(0)


def test_raw_masks_use_the_label_map(root):
    raw = np.full(SIZE, 77, np.uint8)
    raw[3:6] = 30
    for id in "abc":
        Image.fromarray(raw).save(root / f"w/{id}.png")
    weak = {"format": "masks", "path": "w/{id}.png", "values": "raw"}
    keys = {"label_map": [10, 20, 30, 40], "mask": "none/{id}.png", "ignore": 77}
    labels = opened(root, weak, **keys).read(0)[1]
    assert (labels[3:6] == 2).all() and (labels == 255).sum() == 17 * 30
    with pytest.raises(ValueError, match=r"holds values unknown to the data spec: 77"):
        opened(root, weak, **{**keys, "ignore": 0}).read(0)


def polygon_file(root, label="cargroup", **more):
    corners = [[5, 5], [15, 5], [15, 12], [5, 12]]
    objects = [
        {"label": "out of roi", "polygon": [[0, 0], [29, 0], [29, 19], [0, 19]]},
        {"label": label, "polygon": corners},
        {"label": "person", "polygon": [[8, 8], [10, 8], [10, 10], [8, 10]]},
        {"label": "car", "polygon": corners, "deleted": 1},
    ]
    each(root, "ID.json", json.dumps({"imgHeight": 20, "imgWidth": 30, "objects": objects} | more))
    return opened(root, {"format": "polygons", "path": "w/{id}.json"})


def test_coarse_polygons(root):
    data = polygon_file(root)
    labels = data.read(0)[1]
    assert labels[6, 7] == 2 and labels[9, 9] == 3 and labels[0, 0] == 255 and not data[0]["exhaustive"]
    with pytest.raises(ValueError, match="unknown class 'tree'"):
        polygon_file(root, "tree").read(0)
    with pytest.raises(ValueError, match="for an image of 60x20"):
        polygon_file(root, imgWidth=60).read(0)
    with pytest.raises(ValueError, match=r"w/a\.json has no 'imgHeight'"):
        each(root, "ID.json", "{}")
        opened(root, {"format": "polygons", "path": "w/{id}.json"}).read(0)


def test_polygons_are_drawn_as_the_label_images_of_cityscapes_were(root):
    """The scripts of Cityscapes fill with Pillow: corners are pixels that belong to the polygon."""
    corners = [[2, 1], [7, 1], [7, 4], [2, 4]]
    each(
        root,
        "ID.json",
        json.dumps({"imgHeight": 20, "imgWidth": 30, "objects": [{"label": "car", "polygon": corners}]}),
    )
    labels = opened(root, {"format": "polygons", "path": "w/{id}.json"}).read(0)[1]
    assert (labels[1:5, 2:8] == 2).all() and (labels == 2).sum() == 6 * 4


class TestMaskReader(ReaderChecks):
    sample = "masks"


class TestPolygonReader(ReaderChecks):
    sample = "polygons"
