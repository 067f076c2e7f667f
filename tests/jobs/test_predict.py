"""`gss predict` on files, in process."""

import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_pipeline import NAMES, tiny_pipeline

from gss.cli import main
from gss.data.files import find_images, output_names


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "pipeline"
    tiny_pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def photos(tmp_path):
    random = np.random.default_rng(0)
    for name, shape in {
        "a/one.png": (30, 44, 3),
        "b/one.png": (20, 60, 3),
        "b/deep/two.jpg": (33, 1, 3),
        "b/grey.png": (16, 16),
    }.items():
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(path)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    return tmp_path / "photos"


def test_folder_gives_all_files_and_a_json(saved, photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["predict", saved, str(photos), "--out", str(out)]) == 0
    report = json.loads((out / "predictions.json").read_text())
    assert report["decode"] == "marginal" and report["failed"] == []
    assert [Path(record["image"]).name for record in report["images"]] == [
        "one.png",
        "two.jpg",
        "grey.png",
        "one.png",
    ]
    for record in report["images"]:
        original = Image.open(record["image"])
        assert record["size"] == [original.height, original.width]
        for kind, mode in {"mask": "P", "maskige": "RGB", "overlay": "RGB", "confidence": "L"}.items():
            picture = Image.open(out / record["files"][kind])
            assert picture.size == original.size and picture.mode == mode
        labels = np.asarray(Image.open(out / record["files"]["mask"]))
        assert sum(entry["share"] for entry in record["classes"]) == pytest.approx(1)
        for entry in record["classes"]:
            assert entry["label"] == NAMES[entry["index"]]
            assert entry["share"] == pytest.approx((labels == entry["index"]).mean())
            assert 0 < entry["confidence"] <= 1
        assert record["seconds"] > 0
    names = {record["files"]["mask"] for record in report["images"]}
    assert names == {"a/one_mask.png", "b/one_mask.png", "b/deep/two_mask.png", "b/grey_mask.png"}
    assert len([path for path in out.rglob("*") if path.is_file()]) == 4 * 4 + 1
    said = capsys.readouterr().out
    assert "4 of 4 images segmented" in said and "images/s" in said and "resolution: as given" in said
    assert "4 mask, 4 maskige, 4 overlay, 4 confidence, predictions.json" in said.replace("files: ", "").replace(
        "4 mask, 4 overlay, 4 confidence, 4 maskige", "4 mask, 4 maskige, 4 overlay, 4 confidence"
    )


def test_unreadable_images_are_reported_and_the_rest_is_written(saved, photos, tmp_path, capsys):
    (photos / "a" / "broken.png").write_bytes(b"\x89PNG nothing")
    out = tmp_path / "out"
    assert main(["predict", saved, str(photos / "a"), "--out", str(out), "--decode", "hard", "--flip"]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gss: error")]
    assert len(errors) == 1 and "broken.png" in errors[0]
    report = json.loads((out / "predictions.json").read_text())
    assert len(report["images"]) == 1 and report["failed"][0]["image"].endswith("broken.png")
    assert (out / "one_mask.png").exists() and report["decode"] == "hard" and report["flip"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.png"], "nowhere.png: no such image"),
        (["{photos}/*.gif"], "matches no image"),
        (["{photos}/empty"], "holds no image"),
        (["{photos}/a", "--decode", "marginl"], "did you mean 'marginal'"),
    ],
)
def test_mistakes_end_with_one_line_and_write_nothing(saved, photos, tmp_path, capsys, arguments, words):
    (photos / "empty").mkdir()
    arguments = [argument.replace("{photos}", str(photos)) for argument in arguments]
    assert main(["predict", saved, *arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith("gss: error:") and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_earlier_results_are_kept_without_overwrite(saved, photos, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "predictions.json").write_text("mine")
    command = ["predict", saved, str(photos / "a"), "--out", str(out)]
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (out / "predictions.json").read_text() == "mine" and len(list(out.iterdir())) == 1
    assert main([*command, "--overwrite"]) == 0
    assert json.loads((out / "predictions.json").read_text())["images"]


def test_links_keep_their_names(saved, photos, tmp_path):
    """Stores that keep files by hash, and link to them, keep the names of the links."""
    links = tmp_path / "links"
    links.mkdir()
    for name in ("cat", "cat_again"):
        (links / f"{name}.png").symlink_to(photos / "a" / "one.png")
    (links / "dog.jpg").symlink_to(photos / "b" / "deep" / "two.jpg")
    out = tmp_path / "out"
    assert main(["predict", saved, str(links), "--out", str(out)]) == 0
    assert {path.name for path in out.glob("*_mask.png")} == {"cat_mask.png", "cat_again_mask.png", "dog_mask.png"}


def test_names_that_are_odd_or_too_long(saved, photos, tmp_path, capsys):
    folder = tmp_path / "names"
    folder.mkdir()
    one = (photos / "a" / "one.png").read_bytes()
    (folder / f"{'x' * 245}.png").write_bytes(one)  # its results would have names beyond 255 bytes
    (folder / "a\nb.png").write_bytes(one)
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(one)
    out = tmp_path / "out"
    assert main(["predict", saved, str(folder), "--out", str(out)]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gss: error")]
    assert len(errors) == 1 and "xxx" in errors[0] and "too long" in errors[0]
    report = json.loads((out / "predictions.json").read_text())
    assert len(report["images"]) == 2 and len(report["failed"]) == 1 and "x" * 245 in report["failed"][0]["image"]
    for record in report["images"]:
        assert all((out / name).exists() for name in record["files"].values())
    assert not [path for path in out.iterdir() if path.name.startswith((".", "x"))]


def test_damaged_metadata_does_not_matter(saved, photos, tmp_path):
    tags = struct.pack("<HHI4s", 0x0112, 3, 1, b"\6\0\0\0") + struct.pack("<HHI4s", 0x0128, 2, 2, b"2\0\0\0")
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + tags + bytes(4)
    Image.new("RGB", (64, 48), (90, 120, 40)).save(photos / "a" / "turned.jpg", exif=exif)
    out = tmp_path / "out"
    assert main(["predict", saved, str(photos / "a"), "--out", str(out)]) == 0
    assert Image.open(out / "turned_mask.png").size == (48, 64)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_command_says_so_and_leaves_what_is_done(saved, photos, tmp_path, capsys, number, code):
    image = Image.open(photos / "a" / "one.png")
    for index in range(60):
        image.save(photos / f"{index:02d}.png")
    out = tmp_path / "out"

    def stop():
        while len(list(out.rglob("*_mask.png"))) < 2:  # the first image is done
            time.sleep(0.001)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    assert main(["predict", saved, str(photos), "--out", str(out), "--batch-size", "1"]) == code
    thread.join(10)
    words = "stopped by SIGTERM" if number == signal.SIGTERM else "interrupted"
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gss: ")]
    report = json.loads((out / "predictions.json").read_text())
    done = len(report["images"])
    assert 0 < done < 64
    assert said == [f"gss: {words} after {done} of 64 images; the same command with --resume does the rest"]
    for record in report["images"]:
        assert all((out / name).exists() for name in record["files"].values())
    written = {name for record in report["images"] for name in record["files"].values()}
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert files == {*written, "predictions.json"}


def test_options_are_obeyed(saved, photos, tmp_path, capsys):
    out, plain = tmp_path / "out", tmp_path / "plain"
    assert main(["predict", saved, str(photos), "--out", str(plain), "--workers", "0"]) == 0
    options = ["--dtype", "bfloat16", "--batch-size", "1", "--workers", "3", "--device", "cpu"]
    assert main(["predict", saved, str(photos), "--out", str(out), *options]) == 0
    reports = [json.loads((folder / "predictions.json").read_text()) for folder in (plain, out)]
    assert [report["dtype"] for report in reports] == ["float32", "bfloat16"]
    assert [r["image"] for r in reports[0]["images"]] == [r["image"] for r in reports[1]["images"]]
    assert reports[0]["images"][0]["confidence"] != reports[1]["images"][0]["confidence"]
    assert main(["predict", saved, str(photos), "--out", str(tmp_path / "cuda"), "--device", "cuda:99"]) == 2
    assert "--device cuda:99: cannot be used here; there are cpu" in capsys.readouterr().err


def test_a_locked_folder_is_refused_unless_forced(saved, photos, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    holder = {"pid": 1, "host": "elsewhere", "started": "x", "since": "today", "command": "gss predict"}
    (out / ".gss.lock").write_text(json.dumps(holder))
    command = ["predict", saved, str(photos / "a"), "--out", str(out)]
    assert main(command) == 2 and "--force" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0
    assert not (out / ".gss.lock").exists()


def test_missing_pipeline_is_named(photos, tmp_path, capsys):
    assert main(["predict", str(tmp_path / "none"), str(photos), "--out", str(tmp_path / "out")]) == 2
    assert "no pipeline at" in capsys.readouterr().err


def test_find_images(photos):
    everything = find_images([str(photos)])
    assert [path.name for path in everything] == ["one.png", "two.jpg", "grey.png", "one.png"]
    # Named twice in different ways, found once; the order is that of the arguments.
    again = find_images([str(photos / "b" / "grey.png"), f"{photos}/**/*.png", str(photos)])
    assert [path.name for path in again] == ["grey.png", "one.png", "one.png", "two.jpg"]
    assert len(find_images([str(photos)], exclude=photos / "b")) == 1


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/x/a.png", "/x/b.png"], ["a", "b"]),
        (["/x/a.png", "/y/a.png", "/y/b.png"], ["x_a", "y_a", "b"]),
        (["/k/x/a.png", "/l/x/a.png"], ["k_x_a", "l_x_a"]),
        (["/x/a.png", "/x/a.jpg"], ["x_a_png", "x_a_jpg"]),
        (["/x/A.png", "/y/a.png"], ["x_A", "y_a"]),
    ],
)
def test_output_names(paths, names):
    assert output_names([Path(path) for path in paths]) == names


def test_output_names_are_always_distinct():
    paths = [Path(p) for p in ("/x/a.png", "/y/a.png", "/z/x_a.png", "/a.png", "/a.jpg", "/a_png.png", "/x_a.jpg")]
    names = output_names(paths)
    assert len({name.lower() for name in names}) == len(paths)


@pytest.mark.slow
def test_two_processes_write_what_one_writes(saved, photos, tmp_path):
    (photos / "broken.png").write_bytes(b"nothing")
    outs = [tmp_path / "one", tmp_path / "two"]
    for processes, out in enumerate(outs, start=1):
        launch = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
        command = [sys.executable, *launch, "-m", "gss.cli", "predict", saved, str(photos), "--out", str(out)]
        environment = {**os.environ, "ACCELERATE_USE_CPU": "true"}
        assert subprocess.run(command, capture_output=True, text=True, env=environment).returncode == 1
    reports = [json.loads((out / "predictions.json").read_text()) for out in outs]
    for report in reports:
        for record in report["images"]:
            del record["seconds"]
    assert reports[0] == reports[1] and len(reports[0]["images"]) == 4 and len(reports[0]["failed"]) == 1
    for path in outs[0].rglob("*.png"):
        assert path.read_bytes() == (outs[1] / path.relative_to(outs[0])).read_bytes()
