"""Files that no split uses: counted, named, and warned of by training."""

import json

import numpy as np
import pytest
from PIL import Image

from gss.cli import main
from gss.config.shared import DataConfig
from gss.data.open import training_files
from gss.data.specs.load import load_spec
from gss.data.specs.unused import accounting


def put(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".jpg", ".png", ".gif"):
            Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)
        else:
            path.write_text("some words\n")


@pytest.fixture
def root(tmp_path):
    put(tmp_path, *(f"images/im{i}.jpg" for i in range(6)), *(f"masks/im{i}.png" for i in range(6)))
    (tmp_path / "classes.json").write_text(json.dumps({"classes": {"0": "a", "1": "b"}}))
    return tmp_path


def unused(root):
    return {entry.reason: (entry.count, entry.examples) for entry in accounting(load_spec(root)).unused}


def test_every_file_is_used(root):
    result = accounting(load_spec(root))
    assert (result.images, result.labels, result.unused, result.line()) == (6, 6, (), "")


def test_images_in_no_split(root):
    (root / "train.txt").write_text("im0\nim1\nim2\n")
    (root / "val.txt").write_text("im3\n")
    result = accounting(load_spec(root))
    assert (result.images, result.labels) == (4, 4)
    assert unused(root) == {
        "images in no split": (2, ("images/im4.jpg", "images/im5.jpg")),
        "masks of no image in a split": (2, ("masks/im4.png", "masks/im5.png")),
    }
    assert "4 files are not used: 2 images in no split (images/im4.jpg, images/im5.jpg)" in result.line()


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["masks/none.png"], "masks of no image in a split"),
        (["masks/im9.jpg", "masks/x.npy"], "files beside the masks that are not read"),
        (["images/a.heic", "images/notes.md"], "files beside the images that are not read"),
        (["notes.txt"], "text files that are not lists of images"),
        (["train.csv", "val.lst"], "files named like a split that are not .txt lists"),
        (["backup/images/im0.jpg"], "folders that the data set does not name"),
        (["im0.jpg", "overview.png"], "pictures beside the folders of images and masks"),
    ],
)
def test_reasons(root, names, reason):
    put(root, *names)
    result = accounting(load_spec(root))
    (entry,) = result.unused
    assert (entry.reason, entry.count, result.num_unused) == (reason, len(names), len(names))
    assert reason in result.line()


def test_hidden_files_and_documents_do_not_matter(root):
    put(root, "images/._im0.jpg", "masks/.ipynb_checkpoints/im0-checkpoint.png", ".DS_Store", "README.md", "LICENSE")
    result = accounting(load_spec(root))
    assert (result.num_unused, result.line()) == (0, "")
    assert {entry.reason: entry.count for entry in result.unused} == {
        "hidden, or written by the system": 3,
        "other files": 2,
    }


def test_broken_links_are_named(root):
    (root / "images" / "gone.jpg").symlink_to("nowhere.jpg")
    assert unused(root) == {"link to nothing, or not a regular file": (1, ("images/gone.jpg",))}


def test_split_folders_without_masks(root):
    for path in [*(root / "images").iterdir(), *(root / "masks").iterdir()]:
        path.unlink()
    put(root, "images/train/a.jpg", "masks/train/a.png", "images/test/b.jpg", "images/test/c.jpg")
    assert unused(root) == {"images in no split": (2, ("images/test/b.jpg", "images/test/c.jpg"))}


def test_a_spec_accounts_for_the_folders_of_its_patterns(tmp_path):
    put(
        tmp_path,
        "rgb/train/x/a.png",
        "rgb/test/x/b.png",
        "gt/train/x/a_ids.png",
        "gt/train/x/a_color.png",
        "video/1.jpg",
    )
    text = "root: .\nimage: rgb/{split}/{id}.png\nmask: gt/{split}/{id}_ids.png\nsplits: [train]\nclasses: [a]\n"
    (tmp_path / "own.yaml").write_text(text)
    result = accounting(load_spec(tmp_path / "own.yaml"))
    assert (result.images, result.labels) == (1, 1)
    assert {entry.reason: entry.examples for entry in result.unused} == {
        "images in no split": ("rgb/test/x/b.png",),
        "files beside the masks that are not read": ("gt/train/x/a_color.png",),
        "folders that the data set does not name": ("video",),
    }


def test_a_mixture_names_the_domain(tmp_path, root):
    put(root, "masks/none.png")
    (tmp_path / "mix.yaml").write_text(
        "domains: {a: {spec: ./}, s: {spec: scenes, map: {sky: a, road: b}, unmapped: drop}}\n"
    )
    (entry,) = [e for e in accounting(load_spec(tmp_path / "mix.yaml")).unused if e.reason.startswith("masks")]
    assert (entry.count, entry.examples) == (1, ("a: masks/none.png",))


def test_a_split_that_cannot_be_read_is_named(root):
    (root / "train.txt").write_text("im0\n")
    (root / "val.txt").write_text("")
    result = accounting(load_spec(root))
    assert "val: split 'val'" in result.unread[0] and "is empty" in result.line()


def test_training_warns_in_one_line(root):
    (root / "train.txt").write_text("im0\n")
    cfg = DataConfig(spec=str(root), crop=[4, 4])
    with pytest.warns(UserWarning, match="10 files are not used: 5 images in no split") as caught:
        assert training_files(cfg).images == 1
    assert len(caught) == 1 and "\n" not in str(caught[0].message)


def test_json(root):
    put(root, "masks/none.png")
    data = accounting(load_spec(root)).to_json()
    assert json.loads(json.dumps(data)) == data
    assert data["unused"] == {"masks of no image in a split": {"count": 1, "examples": ["masks/none.png"]}}


@pytest.mark.parametrize("form", ["points", "tags", "coarse"])
def test_folders_that_gss_writes_are_accounted_for(tmp_path, form, capsys):
    spec = tmp_path / "tiny.yaml"
    spec.write_text("name: tiny\ngenerator: scenes\nlength: {train: 3, val: 2}\nimage_size: [32, 48]\n")
    made, refined = tmp_path / "made", tmp_path / "refined"
    assert main(["weak", "make", str(spec), "--form", form, "--out", str(made)]) == 0
    folders = [made]
    if form != "tags":
        assert main(["weak", "refine", str(made), "stride=8", "--out", str(refined)]) == 0
        folders.append(refined)
    for folder in folders:
        assert accounting(load_spec(folder)).line() == ""
        capsys.readouterr()
        main(["data", "check", str(folder)])
        assert "not used" not in capsys.readouterr().out
    put(made, "photo.jpg", "old/a.jpg")
    assert accounting(load_spec(made)).num_unused == 2
