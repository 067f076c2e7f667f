"""The main job on a handful of tiny scenes: every file it promises is there, and a second call trains nothing."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from page_checks import check_answer

from gss.config.density import DensityConfig
from gss.config.io import load_config
from gss.config.joint import JointConfig
from gss.config.posterior import PosteriorConfig
from gss.config.prior import PriorConfig
from gss.config.residual import ResidualConfig
from gss.core.lookup.run_folders import find_pipeline
from gss.jobs.quickstart import run as quickstart
from gss.jobs.quickstart import stages as quickstart_stages
from gss.jobs.quickstart.drawn import draw_strokes
from gss.jobs.quickstart.page import answer_sentence
from gss.jobs.quickstart.unknown import check_kinds

SPEC = """
name: {name}
generator: scenes
domain: {domain}
length: {{train: 6, val: 2, test: 2}}
image_size: [48, 64]
unknown: {unknown}
"""
TRAINING = ["data.crop=[48,64]", "train.steps=3", "train.log_every=1"]
SHRINK = {
    PosteriorConfig: [
        *TRAINING,
        *("vq.hidden_dim=16", "vq.codebook_size=24", "loss.cells=100", "loss.repaint_steps=5"),
    ],
    PriorConfig: [*TRAINING, "model.hidden_dim=16", "model.window_size=4"],
    DensityConfig: ["model.num_components=2", "posthoc.correct_only=false", "posthoc.bank_size=50"],
    ResidualConfig: [*TRAINING, "train.eval_every=3", "model.width=16", "outliers.min_pixels=4", "val_images=2"],
    JointConfig: [*TRAINING, "model.width=8", "model.levels=1", "validation.images=2", "validation.orders=2"],
}


@pytest.fixture
def args(tmp_path, monkeypatch):
    for name, domain, unknown in (
        ("day", "clear", "false"),
        ("mist", "fog", "false"),
        ("strange", "clear", "true"),
        ("pasted", "clear", "[ball, sofa]"),
        ("other", "clear", "[animal, lump]"),
    ):
        (tmp_path / f"{name}.yaml").write_text(SPEC.format(name=name, domain=domain, unknown=unknown))

    def small(cls, files, overrides):
        return load_config(cls, files, [*overrides, *(SHRINK[cls] if files[0].startswith("quickstart") else [])])

    monkeypatch.setattr(quickstart_stages, "load_config", small)
    companions = quickstart.Companions(
        *(str(tmp_path / f"{name}.yaml") for name in ("mist", "strange", "pasted", "other"))
    )
    monkeypatch.setattr(quickstart, "COMPANIONS", {str(tmp_path / "day.yaml"): companions})
    return {"out": tmp_path / "out", "data": str(tmp_path / "day.yaml")}


def test_quickstart(args, tmp_path, capsys, monkeypatch):
    quickstart.quickstart(**args)
    out = tmp_path / "out"
    html = (out / "report.html").read_text()
    assert "of training the masks of 2 unseen images reach a mIoU of" in check_answer(html)
    assert html.count("data:image/") > 10 and "<svg" in html
    assert "http://" not in html.replace("http://www.w3.org", "") and "<script src" not in html
    summary = json.loads((out / "results.json").read_text())
    results, scores = summary["results"], summary["unknown"]["scores"]
    assert {"gmm_max", "knn", "combined", "token_entropy", "msp", "twin energy"} <= set(scores)
    assert all(0 <= figures["pooled"]["ap"]["value"] <= 1 for figures in scores.values())
    for words in (
        "Unknown objects",
        "images, pooled over images",
        "twin msp",
        "Precision over recall",
        "AP of gmm_max",
    ):
        assert words in html
    assert len(results) == 4
    matrix = json.loads((out / "results.json").read_text())["matrix"]
    mist = results[f"twin on {tmp_path / 'mist.yaml'}"]["modes"]["aux"]["miou"]
    assert matrix["twin, aux"][str(tmp_path / "mist.yaml")] == mist and "generative, marginal" in matrix
    assert "out of domain" in html and "mIoU, trained on" in html
    assert all(0 <= result["modes"]["aux"]["miou"] <= 1 for result in results.values())
    assert len(list((out / "new_images").iterdir())) == 2
    assert json.loads((out / "predictions" / "predictions.json").read_text())["images"]
    drawn = summary["drawn"]
    assert (
        len(drawn["differing"]) == 6
        and 0 < drawn["given"] < 0.5
        and set(drawn["right"]) == {"image", "strokes", "both"}
    )
    assert {"bits", "cells", "mask_bits", "given_miou"} <= set(drawn["figures"])
    for words in ("Drawn masks", "hypothesis 4", "what all agree on", "three strokes", "from both", "imagined"):
        assert words in html
    assert html.count("nearest training mask: ") == 6 * 2  # caption, and text of the picture
    assert find_pipeline(out).parent.name == "prior" and find_pipeline(out, stage="joint").parent.name == "joint"
    weights = (out / "prior" / "pipeline" / "prior" / "model.safetensors").stat().st_mtime_ns

    capsys.readouterr()
    quickstart.quickstart(**args)
    assert capsys.readouterr().out.count("finished before") == 5
    assert (out / "prior" / "pipeline" / "prior" / "model.safetensors").stat().st_mtime_ns == weights

    # Without a data set of unknown objects the report says so and shows heat maps alone.
    companions = replace(quickstart.COMPANIONS[args["data"]], unknown="")
    monkeypatch.setattr(quickstart, "COMPANIONS", {args["data"]: companions})
    quickstart.quickstart(**args)
    html = (out / "report.html").read_text()
    assert "does not say what is unknown" in html and "pooled over images" not in html
    assert json.loads((out / "results.json").read_text())["unknown"] is None

    # One stage more: the others stay as they are, and its scores stand beside theirs.
    args["stages"] = ["density", "residual", "prior", "posterior"]
    capsys.readouterr()
    quickstart.quickstart(**args)
    printed = capsys.readouterr().out
    assert printed.count("in all decode modes: equal bit for bit") == 1 and printed.count("finished before") == 3
    html = (out / "report.html").read_text()
    for words in ("other val", "AP of residual_energy", "residual_gmm", "gmm_max", "equal bit for bit"):
        assert words in html
    assert "twin" not in html and "Drawn masks" not in html
    summary = json.loads((out / "results.json").read_text())
    assert summary["masks_unchanged"] is True and set(summary["seconds"]) == {
        "posterior",
        "prior",
        "density",
        "residual",
    }
    assert {"residual_energy", "residual_gmm", "combined", "gmm_max"} <= set(summary["unknown"]["scores"])
    quickstart.quickstart(**args)  # its own configuration says which objects were found, and is not another one
    assert capsys.readouterr().out.count("finished before") == 4

    (out / "prior" / "pipeline" / "model_index.json").unlink()
    with pytest.raises(ValueError, match="pipeline"):
        quickstart.quickstart(**args)


@pytest.mark.parametrize(
    ("stages", "reason"),
    [
        (["posterior", "prior", "residal"], "unknown stage 'residal', did you mean 'residual'"),
        (["prior", "twin"], "lacks posterior"),
        ([], "lacks posterior"),
    ],
)
def test_stages_that_make_no_sense(args, tmp_path, stages, reason):
    args["stages"] = stages
    with pytest.raises(ValueError, match=reason):
        quickstart.quickstart(**args)
    assert not (tmp_path / "out").exists()


def test_what_is_pasted_is_not_what_is_measured(args, tmp_path, monkeypatch):
    for companions in quickstart.COMPANIONS.values():
        check_kinds(companions.objects, companions.strangers)
    check_kinds("scenes_outliers", "scenes_strangers")  # those of the real command
    args["stages"] = ["posterior", "prior", "residual"]
    with pytest.raises(ValueError, match=r"trains on \(ball, sofa\)"):
        check_kinds(str(tmp_path / "pasted.yaml"), str(tmp_path / "strange.yaml"))
    monkeypatch.setattr(quickstart, "COMPANIONS", {})
    with pytest.raises(ValueError, match="has no objects to paste"):
        quickstart.quickstart(**args)


def test_strokes_lie_in_different_classes():
    labels = np.full((40, 60), 255, np.uint8)
    labels[:20], labels[20:30, 5:], labels[32:38, 10:50], labels[0:3, 0:3] = 0, 1, 2, 3
    strokes = draw_strokes(labels, 4)
    assert set(labels[strokes]) == {0, 1, 2} and 0 < strokes.mean() < 0.3
    # One class alone: its only region has one stroke; nothing labelled: none.
    assert draw_strokes(np.zeros((8, 8), np.uint8), 2).any()
    assert not draw_strokes(np.full((8, 8), 255, np.uint8), 2).any()
    # Two regions of one class, one of another: each has its stroke.
    labels = np.full((30, 30), 255, np.uint8)
    labels[:8], labels[12:18], labels[22:] = 0, 1, 0
    found = draw_strokes(labels, 2)
    assert all(found[rows].any() for rows in (slice(0, 8), slice(12, 18), slice(22, 30)))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["background", "animal"], "reach an IoU of 72.4% for animal, a mIoU of 82.9%."),
        (["sky", "road"], "images reach a mIoU of 82.9%."),
    ],
)
def test_the_object_comes_before_the_mean_where_there_are_two_classes(names, words):
    mode = SimpleNamespace(miou=0.829, iou=[0.933, 0.724])
    result = SimpleNamespace(modes={"marginal": mode}, default_mode="marginal", images=10, class_names=names)
    assert answer_sentence(result, SimpleNamespace(seconds={"prior": 600.0}), None).endswith(words)
