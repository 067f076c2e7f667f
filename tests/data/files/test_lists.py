"""Split lists: every way of naming an image, and lines that name none."""

import codecs
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gss.core.errors import InputError
from gss.data.datasets import SegmentationDataset
from gss.data.files.lists import read_list, resolve_list
from gss.data.specs.load import load_spec

SPLITS = {"train": range(4), "val": [4], "test": [5, 6, 7]}


def data_set(root, *, form, below="", lists=SPLITS):
    """A folder of eight images whose lists name image i by `form(root, i)`; `below` is put before their names."""
    for index in range(8):
        for part, array in (("images", np.zeros((4, 4, 3))), ("masks", np.zeros((4, 4)))):
            path = root / part / below / f"im{index:02d}.{'jpg' if part == 'images' else 'png'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(path)
    (root / "classes.json").write_text(json.dumps({"classes": {"0": "a"}}))
    for split, indices in lists.items():
        (root / f"{split}.txt").write_text("".join(form(root, index) + "\n" for index in indices))
    return root


FORMS = {
    "id": lambda root, i: f"im{i:02d}",
    "name": lambda root, i: f"im{i:02d}.jpg",
    "upper": lambda root, i: f"im{i:02d}.JPG",
    "path": lambda root, i: f"images/im{i:02d}.jpg",
    "dot": lambda root, i: f"./im{i:02d}.jpg",
    "dot path": lambda root, i: f"./images//im{i:02d}.jpg",
    "up and down": lambda root, i: f"masks/../images/im{i:02d}.jpg",
    "absolute": lambda root, i: str(root.absolute() / f"images/im{i:02d}.jpg"),
    "elsewhere": lambda root, i: f"/home/someone/{root.name}/images/im{i:02d}.jpg",
    "windows": lambda root, i: f"C:\\data\\{root.name}\\images\\im{i:02d}.jpg",
    "from above": lambda root, i: f"{root.name}/images/im{i:02d}.jpg",
    "backslash": lambda root, i: f"images\\im{i:02d}.jpg",
    "double quotes": lambda root, i: f'"im{i:02d}.jpg"',
    "single quotes": lambda root, i: f"'images/im{i:02d}.jpg'",
    "space": lambda root, i: f"images/im{i:02d}.jpg masks/im{i:02d}.png",
    "spaces": lambda root, i: f"im{i:02d}.jpg   im{i:02d}.png",
    "tab": lambda root, i: f"im{i:02d}\tmasks/im{i:02d}.png",
    "comma": lambda root, i: f"images/im{i:02d}.jpg,masks/im{i:02d}.png",
    "comma and space": lambda root, i: f"im{i:02d}.jpg, im{i:02d}.png",
    "semicolon": lambda root, i: f"im{i:02d};1",
    "quoted columns": lambda root, i: f'"images/im{i:02d}.jpg","masks/im{i:02d}.png"',
    "number": lambda root, i: f"im{i:02d} 1",
    "blanks": lambda root, i: f"  im{i:02d}  \n",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_line(tmp_path, form):
    spec = load_spec(data_set(tmp_path / "pets", form=FORMS[form]))
    assert spec.available_splits() == ["test", "train", "val"]
    for split, indices in SPLITS.items():
        assert SegmentationDataset(spec, split).ids == [f"im{index:02d}" for index in indices]


@pytest.mark.parametrize("form", ["id", "name", "path", "split", "absolute"])
def test_lists_of_images_in_folders_of_splits(tmp_path, form):
    forms = FORMS | {
        "path": lambda root, i: f"images/train/im{i:02d}.jpg",
        "absolute": lambda root, i: str(root / f"images/train/im{i:02d}.jpg"),
        "split": lambda root, i: f"train/im{i:02d}",
    }
    spec = load_spec(data_set(tmp_path, form=forms[form], below="train", lists={"train": range(4)}))
    assert SegmentationDataset(spec, "train").ids == ["im00", "im01", "im02"]  # without a list val, the last validates
    assert SegmentationDataset(spec, "val").ids == ["im03"]


def test_lists_across_folders(tmp_path):
    lists = {"train": range(6), "val": [6, 7]}
    spec = load_spec(data_set(tmp_path, form=lambda root, i: f"train/im{i:02d}", below="train", lists=lists))
    assert SegmentationDataset(spec, "val").ids == ["train/im06", "train/im07"]


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8, codecs.BOM_UTF16_LE])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_byte_order_marks_and_line_ends(tmp_path, mark, end):
    path = tmp_path / "ids.txt"
    encoding = "utf-16-le" if mark == codecs.BOM_UTF16_LE else "utf-8"
    path.write_bytes(mark + end.join(["é1", "", "b2.jpg", "b2"]).encode(encoding))
    assert read_list(path) == ["é1", "b2"]


def test_unicode_forms_of_lists_and_files_agree(tmp_path):
    root = data_set(tmp_path, form=FORMS["id"], lists={})
    for part, suffix in (("images", "jpg"), ("masks", "png")):
        path = root / part / f"im00.{suffix}"
        path.rename(path.with_name(unicodedata.normalize("NFD" if part == "images" else "NFC", f"é.{suffix}")))
    for form in ("NFC", "NFD"):
        (root / "train.txt").write_text(unicodedata.normalize(form, "é.jpg\n"))
        assert SegmentationDataset(load_spec(root), "train").ids == [unicodedata.normalize("NFC", "é")]


def test_headers_and_comments(tmp_path):
    root = data_set(tmp_path, form=FORMS["id"], lists={})
    (root / "train.txt").write_text("image,mask\n# the good ones\nim00.jpg,im00.png\nim01.jpg,im01.png\n")
    assert SegmentationDataset(load_spec(root), "train").ids == ["im00"]
    assert SegmentationDataset(load_spec(root), "val").ids == ["im01"]


@pytest.mark.parametrize("name", ["train", "val", "test", "all", "Train", "trainval"])
@pytest.mark.parametrize("line", ["images/none.jpg", "/other/im00.jpg", "some words", "masks/im00.png", "x/im00"])
def test_a_line_that_names_no_image_is_an_error_with_file_and_line(tmp_path, name, line):
    root = data_set(tmp_path, form=FORMS["id"], lists={})
    (root / f"{name}.txt").write_text(f"im00\n{line}\n")
    spec = load_spec(root)
    assert spec.available_splits() == [name]
    with pytest.raises(InputError, match=rf"is missing, .*{name}\.txt, line 2"):
        SegmentationDataset(spec, "val" if name == "train" else name)  # the last of train validates without a list val


def test_an_existing_image_of_another_place_is_not_ours(tmp_path):
    other = data_set(tmp_path / "other" / "pets", form=FORMS["id"], lists={})
    root = data_set(tmp_path / "pets", form=lambda root, i: f"{other}/images/im{i:02d}.jpg")
    with pytest.raises(InputError, match="4 files .* missing, first: .*line 1"):
        SegmentationDataset(load_spec(root), "train")


def test_a_list_with_other_masks_is_refused(tmp_path):
    root = data_set(tmp_path, form=lambda root, i: f"im{i:02d}.jpg masks/im{(i + 1) % 8:02d}.png")
    with pytest.raises(InputError, match=r"test\.txt, line 1: .*'im05' is listed with the mask 'masks/im06.png'"):
        SegmentationDataset(load_spec(root), "test")


def test_text_files_that_are_no_lists(tmp_path):
    root = data_set(tmp_path, form=FORMS["id"], lists={})
    (root / "failed.txt").write_text("\n")
    (root / "README.txt").write_text("Pictures of pets.\nim00 is my favourite.\nTaken in May.\n")
    (root / "classes.txt").write_text("cat\ndog\n")
    (root / "licence.txt").write_bytes(b"\xe9\n")
    (root / "._train.txt").write_bytes(b"\x00\x05\x16\x07")
    spec = load_spec(root)
    assert (spec.available_splits(), spec.undivided) == (["all"], True)
    (root / "good.txt").write_text("images/im00.jpg\nim01\n")
    assert load_spec(root).available_splits() == ["good"]


def test_an_empty_list_with_the_name_of_a_split_is_a_split(tmp_path):
    root = data_set(tmp_path, form=FORMS["id"], lists={"train": range(8)})
    (root / "val.txt").write_text("")
    with pytest.raises(InputError, match="split 'val' .* is empty"):
        SegmentationDataset(load_spec(root), "val")


def test_a_damaged_list_is_named(tmp_path):
    root = data_set(tmp_path, form=FORMS["id"])
    (root / "val.txt").write_bytes(b"im04\n\xff\xfe\xe9\n")
    with pytest.raises(InputError, match=r"val\.txt"):
        SegmentationDataset(load_spec(root), "val")


def test_where_an_entry_comes_from(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("\nb\nb\nc\n")
    entries = resolve_list(path, {"b": tmp_path / "b.jpg"}, tmp_path)
    assert [(Path(entry.where).name, entry.known) for entry in entries] == [
        ("a.txt, line 2", True),
        ("a.txt, line 4", False),
    ]


@pytest.mark.parametrize("sub", ["old", "backup"])
def test_images_beside_folders_of_images_are_refused(tmp_path, sub):
    root = data_set(tmp_path, form=FORMS["id"], lists={})
    data_set(tmp_path, form=FORMS["id"], below=sub, lists={})
    with pytest.raises(InputError, match=f"mixes 8 images with the folders {sub}"):
        load_spec(root)
    (root / "train.txt").write_text("im00\nim01\n")
    assert SegmentationDataset(load_spec(root), "train").ids == ["im00"]


def test_hidden_folders_on_both_sides_change_nothing(tmp_path):
    root = data_set(tmp_path, form=FORMS["id"], lists={})
    data_set(tmp_path, form=FORMS["id"], below=".ipynb_checkpoints", lists={})
    assert len(load_spec(root).samples("all")) == 8


def test_one_image_is_too_few_for_two_splits(tmp_path):
    root = data_set(tmp_path, form=FORMS["id"], lists={})
    for path in [*(root / "images").iterdir(), *(root / "masks").iterdir()]:
        if "im00" not in path.name:
            path.unlink()
    with pytest.raises(InputError, match="1 image, too few for train and val"):
        load_spec(root).samples("train")
    assert len(load_spec(root).samples("all")) == 1
