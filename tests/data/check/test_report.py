"""`gss data check`: counts on a small folder, every kind of finding, files it writes, exit code."""

import json

import numpy as np
import pytest
from PIL import Image

from gss.cli import main
from gss.core.errors import InputError
from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.labels.colors import default_colors


@pytest.fixture
def root(tmp_path):
    """Two splits of two images 8x4; the left half is class 0, the right half class 1, one row void."""
    mask = np.zeros((4, 8), np.uint8)
    mask[:, 4:] = 1
    mask[3] = 255
    for split in ("train", "val"):
        for part in ("images", "masks"):
            (tmp_path / part / split).mkdir(parents=True)
        for name in ("a", "b"):
            Image.new("RGB", (8, 4), (90, 90, 90)).save(tmp_path / f"images/{split}/{name}.png")
            Image.fromarray(mask).save(tmp_path / f"masks/{split}/{name}.png")
    (tmp_path / "classes.json").write_text('{"classes": {"0": "sky", "1": "road", "2": "sea"}}')
    return tmp_path


def check(root, capsys, *, spec=None, **options):
    more = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    code = main(["data", "check", spec or str(root), "--json", str(root / "r.json"), *more])
    return code, capsys.readouterr().out, json.loads((root / "r.json").read_text())


def test_clean_data_set(root, capsys):
    (root / "classes.json").write_text('{"classes": {"0": "sky", "1": "road"}}')
    code, text, data = check(root, capsys)
    assert code == 0
    assert "no problems found" in text
    train = data["splits"][0]
    assert (train["split"], train["images"], train["sizes"]) == ("train", 2, {"8x4": 2})
    assert train["void_share"] == pytest.approx(0.25)
    assert [row["pixels"] for row in train["classes"]] == [24, 24]
    assert [row["images"] for row in train["classes"]] == [2, 2]
    assert [row["share"] for row in train["classes"]] == pytest.approx([0.375, 0.375])


def test_every_finding_is_reported(root, capsys):
    (root / "masks/train/a.png").unlink()
    Image.new("L", (8, 4)).save(root / "masks/train/stray.png")
    (root / "images/train/c.png").write_bytes(b"no image")
    Image.new("L", (8, 4)).save(root / "masks/train/c.png")
    Image.new("L", (7, 4)).save(root / "masks/val/a.png")
    Image.fromarray(np.full((4, 8), 77, np.uint8)).save(root / "masks/val/b.png")
    code, text, data = check(root, capsys)
    assert code == 1
    train, val = data["splits"]
    assert len(train["missing"]) == 2
    assert "stray.png" in train["missing"][0]
    image, mask = root / "images/train/a.png", root / "masks/train/a.*"
    assert train["missing"][1] == f"mask not found: {mask}, for image {image}"
    assert "    draw the mask, take the image away, or list the other images in train.txt\n" in text
    assert "c.png" in train["unreadable"][0]
    assert "7x4" in val["size_mismatch"][0]
    example = str(root / "masks/val/b.png")
    assert val["unknown_labels"] == {"77": {"pixels": 32, "files": 1, "examples": [example]}}
    assert val["void_share"] == 1.0
    (line,) = train["unlearnable"]
    assert line.startswith("class 'sea' has no training pixel: the value 255 (25.0% ") and not val["unlearnable"]
    assert data["problems"] == 6
    assert "6 problems found" in text
    assert "value 77: 32 pixels in 1 file" in text


def test_a_photograph_without_mask_is_named_with_what_to_do(tmp_path, capsys):
    for part in ("photos", "labels"):
        (tmp_path / part).mkdir()
    for index in range(4):
        Image.new("RGB", (8, 4), (90, 90, 90)).save(tmp_path / f"photos/{index}.jpg")
        if index != 2:
            Image.fromarray(np.eye(4, 8, dtype=np.uint8) * 255).save(tmp_path / f"labels/{index}.png")
    assert main(["data", "init", str(tmp_path)]) == 0
    assert "photos/2.jpg has no mask (draw the mask, take the image away, or list the " in capsys.readouterr().out
    (tmp_path / "labels/1.png").unlink()
    assert main(["data", "init", str(tmp_path), "--overwrite"]) == 0
    assert "2 images have no mask, such as photos/1.jpg (draw the mask" in capsys.readouterr().out
    with pytest.raises(InputError, match="^2 images of split 'train' .* have no mask, first: .*'gss data check' lists"):
        open_split(load_spec(tmp_path), "train")


def test_one_split_and_sheet(root, capsys):
    code, text, data = check(root, capsys, split="val", sheet=str(root / "sheet.png"))
    assert code == 0
    assert [split["split"] for split in data["splits"]] == ["val"]
    sheet = np.asarray(Image.open(root / "sheet.png").convert("RGB")).reshape(-1, 3)
    present = {tuple(pixel) for pixel in np.unique(sheet, axis=0).tolist()}
    assert {*default_colors(2), (90, 90, 90)} <= present


def test_inferred_names_are_stated(root, capsys):
    (root / "classes.json").unlink()
    code, text, data = check(root, capsys)
    assert code == 0
    assert "inferred 2 classes class_0..class_1" in text
    assert data["note"]


def test_generated_scenes(tmp_path, capsys):
    spec = tmp_path / "tiny.yaml"
    spec.write_text("generator: scenes\ndomain: clear\nlength: {train: 3}\nimage_size: [48, 64]\n")
    code, text, data = check(tmp_path, capsys, spec=str(spec), sheet=str(tmp_path / "s.png"))
    assert code == 0
    assert data["splits"][0]["sizes"] == {"64x48": 3}
    assert (tmp_path / "s.png").is_file()


def test_unknown_split(root, capsys):
    assert main(["data", "check", str(root), "--split", "tset"]) == 2
    assert "existing splits: train, val" in capsys.readouterr().err
