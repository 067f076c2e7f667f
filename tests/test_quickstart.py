"""The main job on a handful of tiny scenes: every file it promises is there, and a second call trains nothing."""

import argparse
import json

import pytest

from gss import quickstart
from gss.config import PosteriorConfig, load_config

SPEC = """
name: {name}
generator: scenes
domain: {domain}
length: {{train: 6, val: 2, test: 2}}
image_size: [48, 64]
"""
SHRINK = {
    PosteriorConfig: ["vq.hidden_dim=16", "vq.codebook_size=24", "loss.cells=100", "loss.repaint_steps=5"],
}


@pytest.fixture
def args(tmp_path, monkeypatch):
    for name, domain in (("day", "clear"), ("mist", "fog")):
        (tmp_path / f"{name}.yaml").write_text(SPEC.format(name=name, domain=domain))

    def small(cls, files, overrides):
        more = [*SHRINK.get(cls, ["model.hidden_dim=16", "model.window_size=4"]), "data.crop=[48,64]", "train.steps=3"]
        return load_config(cls, files, [*overrides, *more, "train.log_every=1"])

    monkeypatch.setattr(quickstart, "load_config", small)
    monkeypatch.setattr(quickstart, "_OTHER_DOMAIN", {str(tmp_path / "day.yaml"): str(tmp_path / "mist.yaml")})
    return argparse.Namespace(
        out=str(tmp_path / "out"), data=str(tmp_path / "day.yaml"), root=None, seed=0, overwrite=False
    )


def test_quickstart(args, tmp_path, capsys):
    quickstart.main(args)
    out = tmp_path / "out"
    html = (out / "report.html").read_text()
    assert html.count("data:image/") > 10 and "<svg" in html
    assert "http://" not in html.replace("http://www.w3.org", "") and "<script src" not in html
    results = json.loads((out / "results.json").read_text())["results"]
    assert len(results) == 4
    assert all(0 <= result["modes"]["aux"]["miou"] <= 1 for result in results.values())
    assert len(list((out / "new_images").iterdir())) == 2
    assert json.loads((out / "predictions" / "predictions.json").read_text())["images"]
    weights = (out / "prior" / "pipeline" / "prior" / "model.safetensors").stat().st_mtime_ns

    quickstart.main(args)
    assert "already trained" in capsys.readouterr().out
    assert (out / "prior" / "pipeline" / "prior" / "model.safetensors").stat().st_mtime_ns == weights

    (out / "prior" / "pipeline" / "model_index.json").unlink()
    with pytest.raises(ValueError, match="pipeline"):
        quickstart.main(args)
