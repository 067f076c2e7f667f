"""Folders as people have them are understood as they lie there; what is ambiguous or hostile is refused in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from layout_toys import COUNT, LAYOUTS, photo, save, suffix, truth
from PIL import Image

from gss.core.errors import InputError
from gss.data.layouts.spec_file import write_spec_file
from gss.data.open import open_split
from gss.data.specs.folder import folder_keys
from gss.data.specs.load import load_spec


def check_labels(spec):
    """Require the labels of `truth` in both splits, which hold each image once."""
    seen = []
    for split in ("train", "val"):
        dataset = open_split(spec, split)
        for index, id in enumerate(dataset.ids):
            number = int(id.rpartition("/")[2].lstrip("p"))
            np.testing.assert_array_equal(dataset.read(index)[1], truth(number), err_msg=id)
            assert "tags" not in dataset[index]
            seen.append(number)
    assert sorted(seen) == list(range(COUNT))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_understood_and_can_be_written_down(tmp_path, name):
    root = tmp_path / "my data"
    root.mkdir()
    LAYOUTS[name](root)
    spec = load_spec(root)
    assert spec.label_space.num_classes == 2
    assert "\n" not in spec.note
    check_labels(spec)
    keys, line = folder_keys(root)
    path = tmp_path / "written.yaml"
    write_spec_file(path, keys, line, root)
    written = load_spec(path)
    assert written.label_space == spec.label_space
    assert written.label_map == spec.label_map
    check_labels(written)


def test_the_line_names_folders_suffix_and_split(tmp_path):
    for number in range(60):
        photo(tmp_path / f"photos/p{number:02}.jpg", number)
        save(tmp_path / f"labels/p{number:02}_mask.png", truth(number) * 255)
    line = load_spec(tmp_path).note
    assert line.startswith(
        "images in photos/, masks in labels/ with suffix _mask, no split given: the first 48 of 60 by name train, "
        "12 validate"
    )
    assert line.endswith("0 and 255 in the masks are background and object")


def test_test_images_validate_where_nothing_else_does(tmp_path):
    for number in range(4):
        photo(tmp_path / f"images/{'train' if number < 3 else 'test'}/p{number}.jpg", number)
        save(tmp_path / f"labels/{'train' if number < 3 else 'test'}/p{number}.png", truth(number))
    spec = load_spec(tmp_path)
    assert [sample.id for sample in spec.samples("val")] == ["p3"]
    assert "test also validates" in spec.note


def test_names_beside_the_masks(tmp_path):
    for number in range(4):
        photo(tmp_path / f"img/p{number}.jpg", number)
        save(tmp_path / f"masks/p{number}.png", np.array([[0, 0, 0], [10, 20, 30]], np.uint8)[truth(number)])
    (tmp_path / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nground:0,0,0::\nsheep:10,20,30::\n")
    spec = load_spec(tmp_path)
    assert spec.label_space.names == ("ground", "sheep")
    np.testing.assert_array_equal(open_split(spec, "train").read(1)[1], truth(1))


def two_mask_folders(root):
    for number in range(4):
        photo(root / f"photos/p{number}.jpg", number)
        save(root / f"masks/p{number}.png", truth(number))
        save(root / f"labels/p{number}.png", truth(number))


def masks_and_outlines(root):
    LAYOUTS["COCO instances"](root)
    for number in range(COUNT):
        save(root / f"labels/p{number}.png", truth(number))


def two_image_folders(root):
    for number in range(4):
        photo(root / f"photos/p{number}.jpg", number)
        photo(root / f"frames/p{number}.jpg", number)
        save(root / f"masks/p{number}.png", truth(number))


@pytest.mark.parametrize(
    ("build", "lines", "decide"),
    [
        (two_mask_folders, ["`mask: 'labels/{id}.*'`", "`mask: 'masks/{id}.*'`"], {"mask": "masks/{id}.*"}),
        (masks_and_outlines, ["`mask: 'labels/{id}.*'`", "format: coco_masks"], {"mask": "labels/{id}.*"}),
        (two_image_folders, ["images in frames/", "images in photos/"], {"image": "photos/{id}.*"}),
    ],
)
def test_two_readings_are_refused_with_the_line_that_decides(tmp_path, build, lines, decide):
    build(tmp_path)
    with pytest.raises(InputError, match="2 ways") as raised:
        load_spec(tmp_path)
    for line in lines:
        assert line in str(raised.value)
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(decide))
    spec = load_spec(tmp_path)
    np.testing.assert_array_equal(open_split(spec, "train").read(1)[1], truth(1))


def test_255_beside_spread_greys_is_refused_with_the_line_that_decides(tmp_path):
    greys = np.array([0, 128, 255], np.uint8)
    for number in range(3):
        photo(tmp_path / f"images/p{number}.jpg", number)
        save(tmp_path / f"masks/p{number}.png", greys[np.arange(12 * 16).reshape(12, 16) % 3])
    with pytest.raises(InputError, match=r"ignore=255 or ignore=\[\]"):
        load_spec(tmp_path)
    for line, classes in (("ignore: 255", 2), ("ignore: []", 3)):
        (tmp_path / "data.yaml").write_text(line)
        assert load_spec(tmp_path).label_space.num_classes == classes


def jpeg_masks(root):
    for number in range(3):
        photo(root / f"photos/p{number}.jpg", number)
        save(root / f"masks/p{number}.jpg", truth(number) * 255)


def soft_masks(root):
    for number in range(3):
        photo(root / f"photos/p{number}.jpg", number)
        big = Image.fromarray(np.kron(truth(number) * 255, np.ones((8, 8), np.uint8)))
        save(root / f"masks/p{number}.png", np.asarray(big.resize((160, 120), Image.Resampling.BICUBIC)))
        photo(root / f"photos/p{number}.jpg", number)


def photographs_as_masks(root):
    for number in range(3):
        photo(root / f"photos/p{number}.jpg", number)
        photo(root / f"masks/p{number}.png", number + 9)


def braces(root):
    for number in range(3):
        photo(root / f"{{id}}/images/p{number}.jpg", number)
        save(root / f"{{id}}/masks/p{number}.png", truth(number))


def lines_in_labelme(root):
    LAYOUTS["LabelMe"](root)
    content = json.loads((root / "p0.json").read_text())
    content["shapes"][0]["shape_type"] = "line"
    (root / "p0.json").write_text(json.dumps(content))


def boxes_in_coco(root):
    LAYOUTS["COCO instances"](root)
    path = root / "annotations" / "instances.json"
    content = json.loads(path.read_text())
    content["annotations"][2]["segmentation"] = []
    path.write_text(json.dumps(content))


def damaged_brush(root):
    LAYOUTS["Label Studio"](root)
    tasks = json.loads((root / "export.json").read_text())
    value = tasks[7]["annotations"][0]["result"][0]["value"]
    value["rle"] = value["rle"][:-3]
    (root / "export.json").write_text(json.dumps(tasks))


def far_polygon(root):
    LAYOUTS["CVAT"](root)
    path = root / "annotations.xml"
    path.write_text(path.read_text().replace('points="4,2;', 'points="1e12,2;', 1))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda root: None, "no images with labels found"),
        (lambda root: photo(root / "a.jpg", 0), "no images with labels found"),
        (jpeg_masks, "3 of 3 masks are JPEG files, first: .*export them again as PNG"),
        (soft_masks, "interpolation, anti-aliased or compressed"),
        (photographs_as_masks, "colours, most of them rare"),
        (braces, "have a meaning in patterns; rename this folder"),
        (lines_in_labelme, r"p0\.json: shapes\[0\] is a line, which has no area"),
        (boxes_in_coco, r"annotations\[2\] \(id 2\) has no outline"),
        (damaged_brush, "damaged brush mask"),
        (far_polygon, "<polygon> of image 'p0': .*far outside"),
    ],
)
def test_hostile_folders_end_in_one_line(tmp_path, build, message):
    build(tmp_path)
    with pytest.raises(InputError, match=message) as raised:
        spec = load_spec(tmp_path)
        for split in ("train", "val"):
            dataset = open_split(spec, split)
            for index in range(len(dataset)):
                dataset.read(index)
    assert "\n" not in str(raised.value)


def test_a_jpeg_mask_of_a_spec_is_named_as_one(tmp_path):
    suffix(tmp_path)
    (tmp_path / "p3_mask.png").unlink()
    photo(tmp_path / "p3_mask.jpg", 3)
    (tmp_path / "own.yaml").write_text("image: '{id}.jpg'\nmask: '{id}_mask.png'\nclasses: [a, b]\n")
    sample = load_spec(tmp_path / "own.yaml", tmp_path).samples("all")[3]
    (line,) = sample.absent()
    assert "p3_mask.jpg is a JPEG file" in line


def test_names_of_files_in_coco_may_have_folders_and_images_may_be_absent(tmp_path):
    LAYOUTS["COCO instances"](tmp_path)
    path = tmp_path / "annotations" / "instances.json"
    content = json.loads(path.read_text())
    for image in content["images"]:
        image["file_name"] = f"/home/someone/pictures/images/{image['file_name']}"
    content["images"].append({"id": 99, "file_name": "gone.jpg"})
    path.write_text(json.dumps(content))
    Path(tmp_path / "images" / "new.jpg").write_bytes((tmp_path / "images" / "p0.jpg").read_bytes())
    spec = load_spec(tmp_path)
    check_labels(spec)
