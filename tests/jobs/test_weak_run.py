"""`gss weak run`: folders of images and weak labels to a measured pipeline, stages that are skipped, bad inputs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from page_checks import check_answer
from PIL import Image
from tiny_runs import SWIN

from gss.cli import main
from gss.config.io import load_config
from gss.config.prior import PriorConfig, PriorModelConfig
from gss.core.errors import InputError
from gss.data.generated import ScenesDataset
from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.data.weak.formats import find_format
from gss.data.weak.source import WeakSource
from gss.jobs.stages import run_stages
from gss.jobs.weak_run import job as run_job
from gss.jobs.weak_run import run
from gss.jobs.weak_run.inputs import read_classes
from gss.jobs.weak_run.settings import TEACHERS, divide, load_run_config
from gss.pipeline.loading import load_pipeline

NAMES = ScenesDataset("val", length=1, size=(48, 64)).label_space.names
SMALL = [
    "data.photometric=0",
    "data.scale=[1.0,1.0]",
    "optim.lr=3e-3",
    "optim.warmup_steps=2",
    "train.batch_size=4",
    "train.log_every=2",
    f"model.backbone_config={SWIN}",
    "model.hidden_dim=16",
    "model.depth=1",
    "model.window_size=4",
    "posterior.vq.hidden_dim=16",
    "posterior.vq.codebook_size=32",
    "posterior.loss.cells=200",
    "posterior.loss.repaint_steps=10",
    "teacher.train.steps=6",
    "posterior.train.steps=6",
    "prior.train.steps=4",
    "pseudo.threshold=0.0",
    "weak.allow_missing=true",
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """12 images with scribbles as masks, class names, and 3 images with full masks, in folders of their own."""
    root = tmp_path_factory.mktemp("photos")
    for folder in ("images", "scribbles", "val/images", "val/masks"):
        (root / folder).mkdir(parents=True)
    for split, length in (("train", 12), ("val", 3)):
        scenes = ScenesDataset(split, length=length, size=(48, 64))
        for index in range(length):
            image, labels = scenes.read(index)
            if split == "val":
                image.save(root / "val" / "images" / f"{index}.png")
                Image.fromarray(labels).save(root / "val" / "masks" / f"{index}.png")
                continue
            image.save(root / "images" / f"{index:02d}.png")
            drawn = np.full_like(labels, 255)
            drawn[6::12] = labels[6::12]
            Image.fromarray(drawn).save(root / "scribbles" / f"{index:02d}.png")
    (root / "names.txt").write_text("\n".join(NAMES) + "\n")
    classes = {"classes": dict(enumerate(NAMES)), "ignore_index": 255}
    (root / "val" / "classes.json").write_text(json.dumps(classes))
    return root


def command(photos, out, *more, labels="scribbles", val=True):
    folders = ["--images", str(photos / "images"), "--labels", str(photos / labels)]
    measured = ["--val", f"{photos / 'val'}:all"] if val else []
    classes = ["--classes", str(photos / "names.txt")]
    return ["weak", "run", *folders, *classes, *measured, "--out", str(out), *more]


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "scribbles"
    assert main(command(photos, out, "--form", "scribbles", *SMALL)) == 0
    return out


def test_scribbles_to_measured_pipeline(photos, finished):
    summary = json.loads((finished / "results.json").read_text())
    assert summary["measured_on"] == "full masks" and summary["evaluation"]["images"] == 3
    pipeline = load_pipeline(finished / "prior" / "pipeline")
    assert summary["evaluation"]["default_mode"] == pipeline.default_decode
    assert 0 < summary["labels"]["coverage"] < 0.15 < summary["pseudo"]["coverage"] <= 1
    assert set(summary["seconds"]) == {"labels", "teacher", "pseudo", "posterior", "prior"}
    # The prior goes on from the teacher's weights.
    model = load_config(PriorConfig, [str(finished / "prior" / "config.yaml")], []).model
    assert model.init_from == str(finished / "teacher" / "pipeline") and "token" not in model.init_parts
    # Scribbles name every class of an image: what is drawn nowhere in it is in no pseudo-mask of it.
    weak, pseudo = (open_split(load_spec(finished / name), "all") for name in ("labels", "pseudo"))
    for index in range(len(weak)):
        drawn, made = weak.read(index)[1], pseudo.read(index)[1]
        assert set(np.unique(made)) <= set(np.unique(drawn)) and (made[drawn != 255] == drawn[drawn != 255]).all()
    html = (finished / "report.html").read_text()
    assert "masks of unseen images reach a mIoU of" in check_answer(html)
    assert ">pseudo-mask<" in html and ">weak label<" in html
    assert all(words in html for words in ("prediction", "Learning curves", "full masks"))
    assert html.count("data:image/") >= 6 * 4 + 3 * 5


def test_tags_to_measured_pipeline(photos, tmp_path, capsys):
    scenes = ScenesDataset("train", length=12, size=(48, 64))
    lines = [f"{i:02d} {' '.join(NAMES[k] for k in np.unique(scenes.read(i)[1]) if k < 255)}" for i in range(12)]
    (photos / "found.txt").write_text("\n".join(lines) + "\n")
    own = {"teacher.train.steps=6", "pseudo.threshold=0.0"}
    shared = [text for text in SMALL if text not in own and not text.startswith("model.")]
    teacher = [f"teacher.tags.backbone_config={SWIN}", "teacher.data.crop=[64,64]", "teacher.train.steps=4"]
    prior = [f"prior.{text}" for text in SMALL if text.startswith("model.")]
    out = tmp_path / "tags"
    settings = [*shared, *teacher, *prior, "pseudo.cam.scales=[1.0]"]
    assert main(command(photos, out, *settings, labels="found.txt")) == 0
    summary = json.loads((out / "results.json").read_text())
    assert summary["labels"]["tagged"][0] == 12 and summary["labels"]["coverage"] == 0
    assert 0 < summary["pseudo"]["coverage"] <= 1 and summary["evaluation"]["images"] == 3
    html = (out / "report.html").read_text()
    assert "images tagged" in html and ">pseudo-mask<" in html and ">weak label<" not in html  # there is none to draw
    (photos / "found.txt").write_text("\n".join(line.replace("sky", "") for line in lines) + "\n")
    assert main(command(photos, tmp_path / "no_sky", "--stages", "labels", labels="found.txt")) == 2
    assert "has the tag sky" in capsys.readouterr().err.replace("fence, ", "")


def test_second_call_repeats_nothing_and_changes_are_refused(photos, finished, capsys):
    before = (finished / "stages.json").read_text()
    assert main(command(photos, finished, "--form", "scribbles", *SMALL)) == 0
    assert capsys.readouterr().out.count("finished before") == 6
    assert (finished / "stages.json").read_text() == before
    assert main(command(photos, finished, "--form", "scribbles", *SMALL, "prior.train.steps=5")) == 2
    error = capsys.readouterr().err
    assert "train.steps = 4, which is 5 now" in error and "--redo prior" in error
    assert main(command(photos, finished, "--form", "scribbles", *SMALL, "train.log_every=3")) == 0  # decides nothing


def test_a_folder_may_be_moved(photos, finished, tmp_path, capsys):
    out = tmp_path / "copy"
    shutil.copytree(finished, out)
    (out / "results.json").unlink()  # a product that is gone
    assert main(command(photos, out, "--form", "scribbles", *SMALL, "--stages", "evaluate")) == 0
    assert "evaluate: begins" in capsys.readouterr().out
    again, before = (json.loads((folder / "results.json").read_text()) for folder in (out, finished))
    assert again["evaluation"]["modes"] == before["evaluation"]["modes"]


def test_held_out_scribbles_are_measured_on(photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(command(photos, out, "--stages", "labels", "--form", "scribbles", *SMALL, val=False)) == 0
    printed = capsys.readouterr().out
    assert "10 images" in printed
    assert len(open_split(load_spec(out / "labels"), "val")) == 2
    assert main(command(photos, out, "--stages", "prior", "--form", "scribbles", *SMALL, val=False)) == 2
    assert "needs 'teacher', which is not finished" in capsys.readouterr().err


def refused(capsys, *argv):
    """The one line of an exit with code 2."""
    assert main(list(argv)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    errors = [line for line in lines if line.startswith("gss: error: ")]
    assert len(errors) == 1 and errors[0] == lines[-1]
    return errors[0]


def test_bad_inputs_are_one_line(photos, tmp_path, capsys):
    out = tmp_path / "out"

    def run(path, *more):
        shutil.rmtree(out, ignore_errors=True)
        return refused(capsys, *command(photos, out, *SMALL[:-1], "--stages", "labels", *more, labels=path, val=False))

    ids = [f"{index:02d}" for index in range(12)]
    clicks = {id: [{"cls": 0, "x": 3, "y": 3}] for id in ids}
    (photos / "clicks.json").write_text(json.dumps(clicks | {"03": [{"cls": "sky", "x": 99, "y": 3}]}))
    assert "reach outside its 64x48 pixels" in (error := run("clicks.json")) and "labels.KEY=VALUE" in error
    (photos / "clicks.json").write_text(json.dumps(clicks | {"03": [{"cls": "automobile", "x": 9, "y": 3}]}))
    assert "aliases: {automobile: car}" in run("clicks.json")
    assert "is labelled" in run(
        "clicks.json", "labels.aliases={automobile: car}"
    )  # read, but most classes have no seed
    tags = "\n".join(f"{id} sky" for id in [*ids, "gone"])
    (photos / "tags.txt").write_text(tags)
    assert "names 1 images that are not in the data set, first: 'gone'" in run("tags.txt")
    np.save(photos / "tags.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "pickled" in run("tags.npy")

    def masks(name, change):
        shutil.copytree(photos / "scribbles", photos / name)
        for path in sorted((photos / name).iterdir()):
            Image.fromarray(change(np.array(Image.open(path)))).save(path)

    masks("small", lambda mask: mask[:40])
    assert "64x40 pixels, but image '00' has 64x48" in run("small")
    masks("empty", lambda mask: np.full_like(mask, 255))
    assert f"no pixel of --labels {photos / 'empty'} has a label: all of" in run("empty", "weak.allow_missing=true")
    assert "has a label" in run("empty")
    masks("strange", lambda mask: np.where(mask == 0, 77, mask).astype(np.uint8))
    assert "77" in run("strange")
    masks("no_sky", lambda mask: np.where(mask == 0, 255, mask).astype(np.uint8))
    assert "is labelled sky" in run("no_sky")
    assert "--form tags is written as" in run("scribbles", "--form", "tags")
    assert "stage teacher: override 'nope=1': unknown key 'nope'" in run("scribbles", "teacher.nope=1")
    assert "stage pseudo: override 'threshold=2'" in run("scribbles", "pseudo.threshold=2")
    (photos / "one").mkdir()
    shutil.copy(photos / "images" / "00.png", photos / "one")
    one = [
        "--images",
        str(photos / "one"),
        "--labels",
        str(photos / "scribbles"),
        "--classes",
        str(photos / "names.txt"),
    ]
    assert "holds one image" in refused(capsys, "weak", "run", *one, "--out", str(out))
    assert "no stage and no section" in run("scribbles", "teecher.train.steps=3")
    assert "gss weak run sets data.spec itself" in run("scribbles", "data.spec=camvid")


def test_number_of_classes_as_unlabelled_is_stated(photos, tmp_path, capsys):
    shutil.copytree(photos / "scribbles", photos / "by_count")
    for path in sorted((photos / "by_count").iterdir()):
        mask = np.array(Image.open(path))
        Image.fromarray(np.where(mask == 255, len(NAMES), mask).astype(np.uint8)).save(path)
    out = tmp_path / "out"
    assert main(command(photos, out, "--stages", "labels", *SMALL, labels="by_count")) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "unlabelled pixels with 11" in line]
    assert len(said) == 1 and said[0].startswith("gss: warning: ")
    assert "11" in json.loads((out / "stages.json").read_text())["labels"]["result"]["coding"]


def test_arguments_find_their_stages():
    found = divide(["train.steps=3", "prior.train.steps=4", "posterior=my.yaml", "labels.width=5", "pseudo.mixture=1"])
    assert found.shared == ["train.steps=3"] and found.overrides["pseudo"] == ["mixture=1"]
    assert found.files["posterior"] == ["my.yaml"] and found.labels == {"width": 5}
    found.files["posterior"] = []
    cfg = load_run_config(found, TEACHERS["pixels"], (90, 130), resize=True)
    assert (cfg.teacher.train.steps, cfg.posterior.train.steps, cfg.prior.train.steps) == (3, 3, 4)
    assert cfg.prior.data.size == (90, 130) and cfg.prior.data.crop == (96, 128) and cfg.pseudo.mixture == 1
    small = divide(["data.size=[64,96]", "agmm.push=0"])
    cfg = load_run_config(small, TEACHERS["pixels"], (90, 130), resize=True)
    assert cfg.posterior.data.size == (64, 96) == cfg.posterior.data.crop and cfg.teacher.agmm.push == 0
    with pytest.raises(ValueError, match="no stage has this section when the teacher is weak-agmm"):
        load_run_config(divide(["wood.ood=self"]), TEACHERS["pixels"], (64, 96), resize=False)
    with pytest.raises(ValueError, match="did you mean 'teacher'"):
        divide(["teachr.train.steps=3"])


@pytest.mark.parametrize(
    ("prior", "teacher", "expected"),
    [
        ({}, {}, ("T", ["backbone", "fusion", "blocks", "aux"])),
        ({"init_parts": ["backbone", "token"], "classifier": "low_rank"}, {}, ("T", ["backbone"])),
        ({"init_parts": []}, {}, ("", [])),
        ({"init_from": "other", "init_parts": ["aux"]}, {}, ("other", ["aux"])),
        ({"hidden_dim": 32, "init_parts": ["aux"]}, {}, ("", ["aux"])),
        ({"hidden_dim": 32, "init_parts": ["aux"]}, {"hidden_dim": 32}, ("T", ["aux"])),
    ],
)
def test_the_prior_starts_from_a_teacher_of_its_kind(prior, teacher, expected):
    config = PriorModelConfig(**prior)
    run.start_from_teacher(config, PriorModelConfig(**teacher), Path("T"))
    assert (config.init_from, config.init_parts) == expected


@pytest.mark.parametrize("text", ["classes: [no, road]", "- on\n- road\n", "no: [1, 2, 3]\nroad: [3, 4, 5]", "[1, 2]"])
def test_names_that_yaml_reads_as_something_else_are_refused(tmp_path, text):
    with pytest.raises(InputError, match="put it in quotes"):
        read_classes(write(tmp_path / "c.yaml", text))


def test_formats_are_recognised(tmp_path):
    space = read_classes(write(tmp_path / "c.yaml", "classes: {sky: [1, 2, 3], car: [4, 5, 6]}"))
    assert space.names == ("sky", "car") and space.colors[1] == (4, 5, 6)
    assert read_classes(write(tmp_path / "c.json", '{"classes": {"0": "sky", "1": "car"}}')).names == ("sky", "car")
    cases = {
        "voc/a.xml": ("<a><object><name>car</name><bndbox/></object></a>", "auto", "voc_boxes"),
        "voc_tags/a.xml": ("<a><object><name>car</name><bndbox/></object></a>", "tags", "voc_tags"),
        "lines/a.xml": ("<a><polygon><tag>car</tag></polygon></a>", "auto", "scribblesup"),
        "coarse/a.json": ('{"imgHeight": 2, "objects": []}', "auto", "polygons"),
        "own/a.json": ('{"id": "a", "size": [2, 2]}', "auto", "gss"),
        "yolo/a.txt": ("0 0.5 0.5 1 1", "auto", "yolo_boxes"),
        "byclass/car/a.png": ("", "auto", "tags"),
        "drawn/a.png": ("", "auto", "masks"),
    }
    for path, (text, form, expected) in cases.items():
        write(tmp_path / path, text)
        assert find_format(tmp_path / path.split("/")[0], form, space)["format"] == expected, path
    tables = {
        "boxes.csv": ("filename,class,xmin,ymin,xmax,ymax", "csv_boxes"),
        "tags.csv": ("image,car", "tags"),
        "coco.json": ('{"images": [], "categories": [], "annotations": [{"bbox": [1, 2, 3, 4]}]}', "coco_boxes"),
        "tags.json": ('{"a": ["car"]}', "tags"),
        "clicks.json": ('{"a": [{"cls": 1, "x": 2, "y": 3}]}', "clicks"),
    }
    for name, (text, expected) in tables.items():
        found = find_format(write(tmp_path / name, text), "auto", space)
        assert found == {"format": expected, "path": name}
        WeakSource.parse(found, tmp_path, space.names)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_quickstart_weakens_and_runs(tmp_path, monkeypatch, capsys):
    """As far as the labels; the rest is the run above."""
    text = "name: tiny\ngenerator: scenes\nlength: {train: 4, val: 2}\nimage_size: [48, 64]\n"
    spec = write(tmp_path / "tiny.yaml", text)
    monkeypatch.setattr(run, "run_stages", lambda *job, chosen, redo: run_stages(*job, chosen=["labels"], redo=redo))
    monkeypatch.setattr(run_job, "check_seeds", lambda *args, **options: None)  # four scenes lack some class
    argv = ["quickstart", "--labels", "scribbles", "--data", str(spec), "--out", str(tmp_path)]
    assert main([*argv, "--seed", "3"]) == 0
    out = tmp_path / "weak_scribbles"
    records = json.loads((out / "run" / "stages.json").read_text())
    assert set(records) == {"labels"} and 0 < records["labels"]["result"]["precision"] <= 1
    assert json.loads((out / "data" / "report.json").read_text())["seed"] == 3
    assert main([*argv, "--stages", "prior,posterior"]) == 2 and "leave it out" in capsys.readouterr().err
    assert main([*argv, "--seed", "4"]) == 2
    assert "seed = 3, which is 4 now" in capsys.readouterr().err
