"""Warnings of a check: each on a folder with the mistake, none on a clean folder."""

import json

import numpy as np
import pytest
from PIL import Image
from raw_files import exif_block

from gss.core.words import counted
from gss.data.check.report import check_data
from gss.data.check.text import format_data
from gss.data.specs.load import load_spec

H, W = 12, 16


def picture(seed, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (H, W, channels), dtype=np.uint8)


def labels(columns=8):
    mask = np.zeros((H, W), np.uint8)
    mask[:, columns:] = 1
    return mask


@pytest.fixture
def root(tmp_path):
    """Four different pictures with two classes each, two of them in each of train and val."""
    for index in range(4):
        write(tmp_path, index, picture(index), labels())
    (tmp_path / "train.txt").write_text("im0\nim1\n")
    (tmp_path / "val.txt").write_text("im2\nim3\n")
    classes(tmp_path, {"0": "sky", "1": "road"})
    return tmp_path


def classes(root, names, **more):
    (root / "classes.json").write_text(json.dumps({"classes": names, **more}))


def write(root, index, image, mask, image_options=None, mask_options=None):
    for part, array, options in (("images", image, image_options), ("masks", mask, mask_options)):
        if array is not None:
            (root / part).mkdir(exist_ok=True)
            array = array if isinstance(array, Image.Image) else Image.fromarray(array)
            array.save(root / part / f"im{index}.png", **(options or {}))


def warnings_of(root):
    report = check_data(load_spec(root))
    found = [warning for part in report.domains for split in part.splits for warning in split.warnings]
    found += [warning for part in report.domains for warning in part.warnings]
    text = format_data(report)
    assert all(str(warning) in text for warning in found)
    assert "no problems found" in text or report.num_problems
    assert (counted(len(found), "warning") in text) == bool(found)
    return {warning.kind: warning for warning in found}


def test_a_clean_folder_has_none(root):
    assert warnings_of(root) == {}
    assert format_data(check_data(load_spec(root))).endswith("\nno problems found")


def test_alpha_that_is_no_mask(root):
    for index in (0, 1):
        write(root, index, picture(index, 4), None)
    warning = warnings_of(root)["partial_alpha"]
    assert warning.count == 2 and warning.text.startswith("2 images have an alpha channel")


def test_alpha_that_is_a_mask_is_none(root):
    pixels = picture(0, 4)
    pixels[..., 3] = np.where(labels(), 255, 0)
    write(root, 0, pixels, None)
    assert warnings_of(root) == {}


def test_transparent_everywhere(root):
    pixels = picture(0, 4)
    pixels[..., 3] = 0
    write(root, 0, pixels, None)
    assert warnings_of(root)["transparent"].count == 1


@pytest.mark.parametrize(("largest", "warned"), [(1023, True), (4095, True), (16383, True), (40000, False)])
def test_twelve_bits_in_sixteen(root, largest, warned):
    for index in (0, 1):
        values = np.random.default_rng(index).integers(0, largest, (H, W)).astype(np.uint16)
        values[0, 0] = largest
        write(root, index, values, None)
    found = warnings_of(root)
    assert ("narrow_range" in found) == warned
    if warned:
        assert f"2 16-bit images use only 0 … {largest}" in found["narrow_range"].text


@pytest.mark.parametrize("part", ["images", "masks"])
def test_several_pages(root, part):
    pages = [Image.fromarray(labels(columns) * 3 if part == "images" else labels(columns)) for columns in (8, 4)]
    (root / part / "im0.png").unlink()
    pages[0].save(root / part / "im0.tif", save_all=True, append_images=pages[1:])
    assert warnings_of(root)["pages"].count == 1


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_exif_turns_the_image_alone(root, orientation):
    exif = exif_block((0x0112, 3, 1, bytes([orientation, 0])))
    write(root, 0, picture(0), None, {"exif": exif})
    assert warnings_of(root)["turned"].count == 1
    write(root, 0, None, labels(), None, {"exif": exif})
    assert warnings_of(root) == {}


def test_palettes_that_differ(root):
    for index, colors in enumerate(([0, 0, 0, 9, 9, 9], [0, 0, 0, 9, 9, 9], [0, 0, 0, 9, 9, 9], [9, 9, 9, 0, 0, 0])):
        mask = Image.fromarray(labels()).convert("P")
        mask.putdata(labels().ravel().tolist())
        mask.putpalette(colors)
        write(root, index, None, mask)
    (root / "train.txt").write_text("im0\nim1\nim3\n")
    (root / "val.txt").write_text("im2\n")
    warning = warnings_of(root)["palettes"]
    assert warning.count == 1 and warning.examples[0].endswith("im3.png")


def soft(high, low=0):
    mask = np.full((64, 64), low, np.uint8)
    mask[16:48, 16:48] = high
    return np.array(Image.fromarray(mask).resize((W, H), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("void", [None, 7])
def test_soft_edges_of_declared_classes(root, void):
    classes(root, {"0": "background", "255": "object"}, ignore_index=void)
    for index in range(4):
        write(root, index, None, soft(255) if index == 0 else labels() * 255)
    warning = warnings_of(root)["soft_edges"]
    assert warning.count == 1 and "nearest neighbour" in warning.text
    text = format_data(check_data(load_spec(root)))
    assert "list the values under label_map" not in text


@pytest.mark.parametrize(
    ("high", "low"), [(255, 0), (254, 0), (255, 1), (200, 0), (100, 0)], ids=lambda value: str(value)
)
def test_soft_edges_without_classes_are_refused(root, high, low):
    (root / "classes.json").unlink()
    for index in range(4):
        write(root, index, None, soft(high, low))
    words = r"values in between \(first: im0.png, 4 of 4 masks\): they were resized with interpolation"
    with pytest.raises(ValueError, match=words):
        load_spec(root)


@pytest.mark.parametrize("channels", [1, 3])
def test_one_bad_mask_among_many_is_named(root, channels):
    (root / "classes.json").unlink()

    def save(index, mask):
        write(root, index, None, np.repeat(mask[..., None], 3, axis=2) if channels == 3 else mask)

    for index in range(4):
        save(index, labels() * 255)
    save(2, soft(255))
    words = r"values in between \(first: im2.png, 1 of 4 masks\): it was resized .* make it again with nearest"
    with pytest.raises(ValueError, match=words):
        load_spec(root)
    slip = labels() * 255
    slip[0, :2] = 254
    save(2, slip)
    words = r"hold 0, 255 and, in 2 pixels, the value 254 \(first: im2.png, 1 of 4 masks\), which looks like no class"
    with pytest.raises(ValueError, match=words):
        load_spec(root)


@pytest.mark.parametrize("values", [(0, 1, 255), (0, 1, 2, 3), (0, 5, 20, 255), (1, 150, 30, 7), (0, 1)])
def test_class_numbers_are_no_soft_edges(root, values):
    (root / "classes.json").unlink()
    for index in range(4):
        mask = np.repeat(np.array(values, np.uint8), 4)[None, :].repeat(H, axis=0)
        write(root, index, np.array(Image.fromarray(picture(index)).resize((mask.shape[1], H))), mask)
    assert "soft_edges" not in warnings_of(root)


def test_soft_edges_of_colours(tmp_path):
    mask = np.zeros((64, 64, 3), np.uint8)
    mask[16:48, 16:48] = (128, 64, 32)
    for index in range(2):
        write(tmp_path, index, picture(index), np.array(Image.fromarray(mask).resize((W, H), Image.Resampling.BICUBIC)))
    text = "image: images/{id}.png\nmask: masks/{id}.png\ncolor_coded: true\nroot: .\n"
    (tmp_path / "own.yaml").write_text(text + "classes: {a: [0, 0, 0], b: [128, 64, 32]}\n")
    assert warnings_of(tmp_path / "own.yaml")["soft_edges"].count == 1  # in train, and in val


def test_classes_without_training_pixels(root):
    classes(root, {"0": "sky", "1": "road", "2": "sea", "3": "sun"})
    write(root, 2, None, labels() + 1)
    report = check_data(load_spec(root))
    assert report.domains[0].splits[0].unlearnable == [
        "class 'sea' has no training pixel",
        "class 'sun' has no training pixel",
    ]
    assert report.num_problems == 2


def test_a_class_whose_pixels_are_all_read_as_void_is_a_problem_that_names_the_value(tmp_path):
    for index in range(3):
        write(tmp_path, index, picture(index), labels() * 255)
    text = "image: images/{id}.png\nmask: masks/{id}.png\nroot: .\nclasses: [background, object]\n"
    (tmp_path / "own.yaml").write_text(text)
    report = check_data(load_spec(tmp_path / "own.yaml"))
    (line,) = report.domains[0].splits[0].unlearnable
    assert "class 'object' has no training pixel: the value 255 (" in line and "ignore: []" in line
    assert "classes that cannot be learnt: 1" in format_data(report)


def test_one_class_only(root):
    for index in (2, 3):
        write(root, index, None, labels() * 0)
    assert "'val' shows one class only, 'sky'" in warnings_of(root)["one_class"].text


def test_all_void(root):
    for index in range(4):
        write(root, index, None, labels() * 0 + 255)
    found = warnings_of(root)
    assert found["all_void"].text.startswith("no pixel of split") and found["void"].count == 2


def test_the_same_picture_in_two_splits(root):
    write(root, 2, picture(0), None)
    warning = warnings_of(root)["shared_pixels"]
    (pair,) = warning.examples
    assert "im0.png = " in pair and pair.endswith("im2.png")
    assert "'train'" in warning.text and "'val'" in warning.text


def test_the_same_pixels_in_another_format(root):
    (root / "images" / "im2.png").unlink()
    Image.fromarray(picture(0)).save(root / "images" / "im2.bmp")
    assert warnings_of(root)["shared_pixels"].count == 1


def test_the_same_image_in_two_lists(root):
    (root / "val.txt").write_text("im1\nim2\nim3\n")
    warning = warnings_of(root)["shared_ids"]
    assert (warning.count, warning.examples) == (1, ("im1",))


def test_unions_of_splits_share_by_design(root):
    (root / "trainval.txt").write_text("im0\nim1\nim2\nim3\n")
    assert warnings_of(root) == {}


def test_the_same_picture_twice_in_a_split(root):
    write(root, 1, picture(0), None)
    assert warnings_of(root)["repeated"].count == 1


def test_files_that_are_not_used_are_named_and_counted(root):
    (root / "val.txt").write_text("im2\n")
    text = format_data(check_data(load_spec(root)))
    assert "1 images in no split (images/im3.png)" in text
    assert "no problems" not in text
    assert text.endswith("0 problems found; 2 files are not used, see above")


def test_json_has_warnings_and_files(root):
    (root / "val.txt").write_text("im1\nim2\nim3\n")
    data = check_data(load_spec(root)).to_json()
    assert json.loads(json.dumps(data)) == data
    assert [warning["kind"] for warning in data["warnings"]] == ["shared_ids"]
    assert (data["schema_version"], data["files"]["images"]) == (1, 4)
