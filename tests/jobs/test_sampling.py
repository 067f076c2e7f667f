"""gss sample, complete and generate on files."""

import json

import numpy as np
import pytest
from joint_toys import joint_pipeline
from PIL import Image
from tiny_pipeline import tiny_pipeline

from gss import cli
from gss.jobs.sampling.files import sheet


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two images, two partial masks, a pipeline with and one without joint prior."""
    folder = tmp_path_factory.mktemp("sampling")
    joint_pipeline(one_class_codes=True, window_size=(32, 48)).save_pretrained(folder / "pipeline")
    tiny_pipeline().save_pretrained(folder / "plain")
    random = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for name in ("a", "b"):
        image = random.integers(0, 256, (34, 50, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{name}.png")
        mask = np.full((34, 50), 255, np.uint8)
        mask[4:20, 8:24] = 3
        mask[30] = 1
        Image.fromarray(mask).save(folder / "masks" / f"{name}.png")
    return folder


def run(place, *arguments):
    return cli.main([str(place / part[1:]) if part.startswith("@") else part for part in arguments])


def read(path):
    return json.loads(path.read_text())


def test_sample(place, capsys):
    common = ("sample", "@pipeline", "@images", "-n", "3", "--steps", "2")
    assert run(place, *common, "--out", "@samples") == 0
    assert "3 masks of each of 2 of 2 images" in capsys.readouterr().out
    result = read(place / "samples" / "samples.json")
    assert (result["n"], result["scheduler"]["order"], result["failed"]) == (3, "halton", [])
    for item in result["items"]:
        assert {*item["files"]} == {"1", "2", "3", "consensus", "information", "sheet"}
        assert all((place / "samples" / name).is_file() for name in item["files"].values())
        assert item["regions"] == sorted(item["regions"], key=lambda region: -region["information"])
        with Image.open(place / "samples" / item["files"]["2"]) as mask:
            assert (mask.mode, mask.size) == ("P", (50, 34))
    # An image gets the same masks whatever else is in the call.
    assert run(place, *common[:2], "@images/a.png", *common[3:], "--out", "@one") == 0
    first = [(place / folder / "a_2.png").read_bytes() for folder in ("samples", "one")]
    assert first[0] == first[1]


@pytest.mark.filterwarnings("ignore:.*better than chance")
def test_complete_files(place, capsys):
    assert run(place, "complete", "@pipeline", "@masks", "--images", "@images", "--steps", "2", "--out", "@done") == 0
    assert "2 of 2 masks completed" in capsys.readouterr().out
    for item in read(place / "done" / "completions.json")["items"]:
        given = np.array(Image.open(item["mask"]))
        completed = np.array(Image.open(place / "done" / item["files"]["mask"]))
        assert np.array_equal(completed[given != 255], given[given != 255])
        assert completed.max() < 5
        assert item["whole_cells"] == 16


def test_complete_without_images(place):
    assert run(place, "complete", "@pipeline", "@masks/a.png", "--steps", "2", "--out", "@alone") == 0
    (item,) = read(place / "alone" / "completions.json")["items"]
    assert "image" not in item["files"]


@pytest.mark.filterwarnings("ignore:.*better than chance")
def test_complete_the_scribbles_of_a_data_set(place):
    (place / "lines").mkdir()
    strokes = [
        {"class": "road", "points": [[2, 2], [40, 2]], "width": 3},
        {"class": "sky", "points": [[5, 30], [20, 31]], "width": 3},
    ]
    (place / "lines" / "a.json").write_text(json.dumps({"strokes": strokes, "size": [34, 50]}))
    (place / "data.yaml").write_text(
        "name: own\nroot: .\nimage: images/{id}.png\nmask: masks/{id}.png\nsplits: [train]\n"
        "classes: {road: [1, 2, 3], sky: [4, 5, 6], tree: [7, 8, 9], car: [10, 11, 12], pole: [13, 14, 15]}\n"
        "weak: {format: gss, path: 'lines/{id}.json', unlabelled: allow, only: list.txt}\n"
    )
    (place / "list.txt").write_text("a\n")
    assert run(place, "complete", "@pipeline", "--data", "@data.yaml", "--steps", "2", "--out", "@weak") == 0
    (item,) = read(place / "weak" / "completions.json")["items"]
    assert 0.05 < item["given_share"] < 0.15
    completed = np.array(Image.open(place / "weak" / item["files"]["mask"]))
    assert (completed[2, 4:38] == 0).all()


def test_generate(place):
    shares = "road=0.5,sky=0.5"
    common = ("generate", "@pipeline", "--size", "34x70", "--steps", "4", "--proportions", shares)
    assert run(place, *common, "-n", "2", "--out", "@made") == 0
    result = read(place / "made" / "generated.json")
    assert len(result["items"]) == 2
    for item in result["items"]:
        assert sum(item["proportions"].values()) == pytest.approx(1)
        assert item["proportions"]["road"] == pytest.approx(0.5, abs=0.15)
        with Image.open(place / "made" / item["files"]["mask"]) as mask:
            assert mask.size == (70, 34)
    assert (place / "made" / "sheet.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sample", "@plain", "@images"), "gss sample needs a joint prior, which this pipeline lacks: train one with"),
        (("complete", "@plain", "@masks"), "'gss train joint'"),
        (("generate", "@plain"), "'gss train joint'"),
        (("generate", "@pipeline", "--proportions", "raod=1"), "unknown class 'raod', did you mean 'road'"),
        (("generate", "@pipeline", "--proportions", "road=0.5"), "proportions sum to 0.5; they must sum to 1"),
        (("generate", "@pipeline", "--proportions", "road"), "is not CLASS=SHARE"),
        (("generate", "@pipeline", "-n", "0"), "'0' is not a whole number above 0"),
        (("sample", "@pipeline", "@images", "--top-p", "2"), "--top-p is 2; it must be"),
        (("sample", "@pipeline", "@images", "--trust", "2"), "--trust is 2; it must be a number from 0 to 1"),
        (("sample", "@pipeline", "@images", "--late-temperature", "-1"), "--late-temperature is -1; it must be"),
        (("complete", "@pipeline"), "give masks, or --data"),
        (("complete", "@pipeline", "@masks", "--images", "@images/a.png"), "no image is called 'b'"),
    ],
)
def test_mistakes_end_in_one_line(place, arguments, message, capsys):
    try:
        code = run(place, *arguments, "--out", "@never")
    except SystemExit as error:
        code = error.code
    error = capsys.readouterr().err
    assert code == 2
    assert message in error
    assert [line for line in error.splitlines() if line.startswith("gss")] == [error.splitlines()[-1]]


def test_a_sheet_names_every_picture_and_the_classes_that_it_shows():
    colors = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200]], np.uint8)
    masks = [np.zeros((40, 60), np.uint8), np.full((40, 60), 2, np.uint8)]
    pictures = {"mask 1": Image.new("RGB", (60, 40), "white"), "mask 2": Image.new("RGB", (60, 40), "white")}
    drawn = sheet(pictures, masks, {0: "sky", 1: "road", 2: "car"}, colors)
    found = {color for _, color in drawn.getcolors(100_000)}
    assert {(200, 0, 0), (0, 0, 200)} <= found and (0, 200, 0) not in found
    unknown = sheet(pictures, [np.full((40, 60), 255, np.uint8)], {0: "sky"}, colors)
    assert {(0, 0, 0), (255, 255, 255)} <= {color for _, color in unknown.getcolors(100_000)}
