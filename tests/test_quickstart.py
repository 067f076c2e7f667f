"""The main job on a handful of tiny scenes: every file it promises is there, and a second call trains nothing."""

import argparse
import json

import pytest

from gss import quickstart
from gss.config import PosteriorConfig, PriorConfig, load_config
from gss.config_density import DensityConfig

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
}


@pytest.fixture
def args(tmp_path, monkeypatch):
    for name, domain, unknown in (("day", "clear", "false"), ("mist", "fog", "false"), ("strange", "clear", "true")):
        (tmp_path / f"{name}.yaml").write_text(SPEC.format(name=name, domain=domain, unknown=unknown))

    def small(cls, files, overrides):
        return load_config(cls, files, [*overrides, *(SHRINK[cls] if files[0].startswith("quickstart") else [])])

    monkeypatch.setattr(quickstart, "load_config", small)
    monkeypatch.setattr(quickstart, "_OTHER_DOMAIN", {str(tmp_path / "day.yaml"): str(tmp_path / "mist.yaml")})
    monkeypatch.setattr(quickstart, "_UNKNOWN", {str(tmp_path / "day.yaml"): str(tmp_path / "strange.yaml")})
    return argparse.Namespace(
        out=str(tmp_path / "out"), data=str(tmp_path / "day.yaml"), root=None, seed=0, labels=None, overwrite=False
    )


def test_quickstart(args, tmp_path, capsys, monkeypatch):
    quickstart.main(args)
    out = tmp_path / "out"
    html = (out / "report.html").read_text()
    assert html.count("data:image/") > 10 and "<svg" in html
    assert "http://" not in html.replace("http://www.w3.org", "") and "<script src" not in html
    summary = json.loads((out / "results.json").read_text())
    results, scores = summary["results"], summary["unknown"]["scores"]
    assert {"gmm_max", "knn", "combined", "token_entropy", "msp", "twin energy"} <= set(scores)
    assert all(0 <= figures["pooled"]["ap"]["value"] <= 1 for figures in scores.values())
    for words in ("Unknown objects", "AP (pooled)", "twin msp", "Precision over recall", "AP of gmm_max"):
        assert words in html
    assert len(results) == 4
    matrix = json.loads((out / "results.json").read_text())["matrix"]
    mist = results[f"twin on {tmp_path / 'mist.yaml'}"]["modes"]["aux"]["miou"]
    assert matrix["twin, aux"][str(tmp_path / "mist.yaml")] == mist and "generative, marginal" in matrix
    assert "harm. mean" in html and "mIoU, trained on" in html
    assert all(0 <= result["modes"]["aux"]["miou"] <= 1 for result in results.values())
    assert len(list((out / "new_images").iterdir())) == 2
    assert json.loads((out / "predictions" / "predictions.json").read_text())["images"]
    weights = (out / "prior" / "pipeline" / "prior" / "model.safetensors").stat().st_mtime_ns

    quickstart.main(args)
    assert "already trained" in capsys.readouterr().out
    assert (out / "prior" / "pipeline" / "prior" / "model.safetensors").stat().st_mtime_ns == weights

    # Without a data set of unknown objects the report says so and shows heat maps alone.
    monkeypatch.setattr(quickstart, "_UNKNOWN", {})
    quickstart.main(args)
    html = (out / "report.html").read_text()
    assert "does not say what is unknown" in html and "AP (pooled)" not in html
    assert json.loads((out / "results.json").read_text())["unknown"] is None

    (out / "prior" / "pipeline" / "model_index.json").unlink()
    with pytest.raises(ValueError, match="pipeline"):
        quickstart.main(args)
