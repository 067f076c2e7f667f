"""`gss train weak-tags`, masks from its classifiers, and how they are judged, on tiny pictures of trains and balls."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from stage_checks import check_mistake, check_resume
from tag_toys import SETTINGS, write
from tiny_runs import losses

from gss.cli import main
from gss.config.io import load_config
from gss.config.tags import WeakTagsConfig
from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.data.tagged import read_tags
from gss.pipeline.loading import load_classifier
from gss.training.run import train
from gss.training.weak.tags import mean_average_precision, tag_loss


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("toys"))


def config(data, *more):
    return load_config(WeakTagsConfig, [], [f"data.spec={data}", *SETTINGS, *more])


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "wood"
    more = (
        f"wood.ood={data / 'rails'}",
        "wood.absent=0.25",
        "wood.distance=0.007",
        "wood.clusters=4",
        "wood.start=0.5",
        "train.picture_every=40",
    )
    return out, train("weak-tags", config(data, "train.steps=40", *more), out)


def test_tags_are_learnt_and_out_of_distribution_images_take_part(trained):
    out, metrics = trained
    assert losses(out, "tags")[-1] < 0.8 * losses(out, "tags")[0]
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if "absent" in line]
    assert steps == list(range(21, 41)) and np.isfinite(losses(out, "distance")).all()
    assert metrics["map"] > 0.8 and 0 < metrics["false"] < 0.6
    assert (out / "pictures" / "step_000040_maps.jpg").is_file()
    model = load_classifier(out / "classifier")
    assert model.classes == (1, 2) and model.config["image_size"] == 96 and not model.training
    state = load_file(sorted((out / "checkpoints").iterdir())[-1] / "model.safetensors")
    assert (state["ood.centres.counts"] > 0).all() and state["ood.clusters.centres"].shape == (4, model.dim)


def test_resume_is_bit_exact(data, tmp_path):
    more = ("train.steps=6", "train.checkpoint_every=4", "wood.start=0.3", "wood.clusters=3", "train.ema_decay=0.9")
    cfg = config(data, f"wood.ood={data / 'rails'}", "wood.distance=0.007", *more)
    check_resume("weak-tags", cfg, tmp_path, "classifier", "diffusion_pytorch_model.safetensors")


def test_without_such_images_windows_are_cut_from_the_training_images(data, trained, tmp_path):
    start = f"tags.init_from={trained[0] / 'classifier'}"
    more = ("wood.ood=self", "wood.start=0", "wood.threshold=0.6", "data.val_split=''")
    assert train("weak-tags", config(data, "train.steps=3", start, *more), tmp_path) == {}
    assert len(losses(tmp_path, "absent")) == 3
    # There is no distance unless it is given a weight.
    total = np.add(losses(tmp_path, "tags"), losses(tmp_path, "absent"))
    np.testing.assert_allclose(losses(tmp_path), total, rtol=1e-5)
    assert losses(tmp_path, "tags")[0] < 0.85 * losses(trained[0], "tags")[0]  # it starts where the other run ended


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["wood.ood=nowhere"], "not found: nowhere"),
        (["wood.ood={data}/images"], "also among the training images"),
        (["wood.ood={data}/rails", "wood.clusters=12", "wood.start=0", "wood.survey=0"], "wood.survey"),
        (["tags.output_stride=16"], "only EfficientNet-Lite"),
        (["tags.levels=5"], "levels=5"),
        (["tags.init_from={data}"], "no tag classifier"),
        (["tags.init_from={trained}/classifier", "tags.levels=2"], "does not fit"),
        (["wood.odd=self"], "wood.od"),
        (["data.val_split=valid"], "no split"),
    ],
)
def test_mistakes_end_in_one_line(data, trained, tmp_path, capsys, more, reason):
    more = [text.format(data=data, trained=trained[0]) for text in more]
    command = ["train", "weak-tags", f"data.spec={data}", *SETTINGS, *more, "--out", tmp_path / "out"]
    check_mistake(command, reason, capsys)


def test_a_class_without_any_tag_is_refused(data, tmp_path, capsys):
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    tags = json.loads((copy / "tags.json").read_text())
    tags = {id: [name for name in names if name != "ball"] for id, names in tags.items()}
    (copy / "tags.json").write_text(json.dumps(tags))
    command = ["train", "weak-tags", f"data.spec={copy}", *SETTINGS, "train.steps=1", "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert "has the tag ball: tag some, or set tags.allow_missing=true" in capsys.readouterr().err
    assert main([*command, "--overwrite", "tags.allow_missing=true"]) == 0


def test_tags_that_may_be_incomplete_deny_nothing():
    logits, tags = torch.tensor([[2.0, -1.0], [0.5, 3.0]]), torch.tensor([[True, False], [False, True]])
    all_known = tag_loss(logits, tags, torch.tensor([True, True]))
    torch.testing.assert_close(all_known, torch.nn.functional.binary_cross_entropy_with_logits(logits, tags.float()))
    some = tag_loss(logits, tags, torch.tensor([False, False]))
    torch.testing.assert_close(some, torch.nn.functional.softplus(-torch.tensor([2.0, 3.0])).mean())
    assert tag_loss(logits, torch.zeros_like(tags), torch.tensor([False, False])) == 0


def test_mean_average_precision_by_hand():
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    tags = np.array([[True, False], [False, False], [True, False]])
    assert mean_average_precision(scores, tags, np.ones_like(tags)) == pytest.approx((1 + 2 / 3) / 2)
    known = np.array([[True, True], [False, True], [True, True]])
    assert mean_average_precision(scores, tags, known) == 1
    assert np.isnan(mean_average_precision(scores, np.zeros_like(tags), known))


@pytest.mark.parametrize("more", [["walk.steps=0"], ["abstain=0.6"], ["refined=true"]])
def test_produce_writes_masks_of_the_tags(data, trained, tmp_path, capsys, more):
    out = tmp_path / "pseudo"
    command = ["weak", "produce", str(trained[0] / "classifier"), "--data", str(data), "--out", str(out)]
    assert main([*command, "background=0.4", "cam.scales=[1,2]", *more]) == 0
    assert "pixels labelled" in capsys.readouterr().out
    given, made = open_split(load_spec(data), "train"), open_split(load_spec(out), "train")
    assert made.ids == given.ids
    for index in range(len(made)):
        labels, confidence = made.read(index)[1], made.read_weak(index)[1]
        tags = read_tags(given, index)[0]
        assert set(np.unique(labels)) - {255} <= set(np.flatnonzero(tags))
        assert confidence.shape == labels.shape and confidence.min() >= 0 and confidence.max() <= 1
        if not tags[1:].any():
            assert (labels == 0).all() and (confidence == 1).all()
        if "abstain=0.6" in more:
            # Confidence is kept in steps of 1 / 255.
            assert (confidence[labels == 255] < 0.605).all() and (confidence[labels != 255] > 0.595).all()
    assert main(["weak", "report", str(out), "--truth", str(data / "full.yaml")]) == 0


def test_seeds_command_compares_classifiers(data, trained, tmp_path, capsys):
    folder = str(trained[0] / "classifier")
    command = ["weak", "seeds", folder, folder, "--data", str(data), "--truth", str(data / "full.yaml")]
    report, sheet = tmp_path / "seeds.json", tmp_path / "maps.png"
    assert main([*command, "--split", "val", "--json", str(report), "--sheet", str(sheet), "scales=[1]"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[1] == rows[2] and rows[3:5] == [f"wrote {report}", f"wrote {sheet}"]
    assert rows[5].startswith(f"next: gss weak produce {folder} ") and len(rows) == 6
    found = json.loads(report.read_text())
    assert found["classifiers"][0]["best"]["precision"] == pytest.approx(
        found["classifiers"][0]["precision_at_recall"]["precision"]
    )
    assert len(found["classifiers"][0]["curve"]) == 100 and Image.open(sheet).width > 400
    assert main([*command, "--recall", "0.3", "--json", str(report), "scales=[1]"]) == 0
    assert "at recall 30.0" in capsys.readouterr().out
    assert json.loads(report.read_text())["classifiers"][1]["precision_at_recall"]["recall"] == 0.3
    assert main([*command, "--recall", "30"]) == 2 and "--recall is 30" in capsys.readouterr().err
    assert main([*command[:4], "--data", str(data)]) == 2
    assert "has weak labels" in capsys.readouterr().err


@pytest.mark.slow
def test_out_of_distribution_images_cure_the_co_occurrence_trap(data, tmp_path):
    """Trains always stand on rails: tags alone teach the rails; pictures of bare rails teach the train."""
    quality = {}
    for name, more in {"plain": (), "wood": (f"wood.ood={data / 'rails'}", "wood.clusters=4")}.items():
        train("weak-tags", config(data, "train.steps=100", "data.val_split=''", *more), tmp_path / name)
        out = tmp_path / f"{name}.json"
        command = ["weak", "seeds", str(tmp_path / name / "classifier"), "--data", str(data), "--json", str(out)]
        assert main([*command, "--truth", str(data / "full.yaml")]) == 0
        curve = json.loads(out.read_text())["classifiers"][0]["curve"]
        rows = sorted((q["per_class"]["recall"][1], q["per_class"]["precision"][1] or 0) for q in curve)
        quality[name] = np.interp(0.4, *np.array(rows).T)
    # The train covers 9 % of its pictures.
    assert quality["plain"] < 0.2 and quality["wood"] > quality["plain"] + 0.1
