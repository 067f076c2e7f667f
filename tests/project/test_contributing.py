"""The examples of CONTRIBUTING.md are complete: each is taken from the page and used as the page says."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from quantizer_checks import QuantizerChecks
from torchmetrics import MetricCollection

import vqvae.quantizers
from gss import cli
from gss.cli import main
from gss.models.backbone import build_backbone, build_backbone_config
from gss.ood import SCORES, ScoreInputs, build_score

PAGE = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"
EXAMPLES = dict(re.findall(r"```\w+\n# (\S+)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))


def example(path: str, folder: Path):
    """Import the example of this path from a folder of its own."""
    file = folder / Path(path).name
    file.write_text(EXAMPLES[path])
    name = f"contributed_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("examples")


def test_every_example_is_tested():
    source = Path(__file__).read_text()
    assert len(EXAMPLES) == 6 and all(f'"{path}"' in source for path in EXAMPLES)


class TestQuantizer(QuantizerChecks):
    kind = "nearest"

    @pytest.fixture(autouse=True)
    def known(self, folder, monkeypatch):
        build = example("vqvae/nearest.py", folder).build_nearest
        monkeypatch.setitem(vqvae.quantizers.KINDS, "nearest", build)


def test_backbone(folder):
    example("gss/models/pyramid.py", folder)
    backbone = build_backbone(build_backbone_config(config={"model_type": "pyramid", "widths": [8, 16, 24]}))
    maps = backbone(torch.zeros(2, 3, 32, 64)).feature_maps
    assert [tuple(part.shape) for part in maps] == [(2, 8, 16, 32), (2, 16, 8, 16), (2, 24, 4, 8)]


def test_score(folder, monkeypatch):
    monkeypatch.setitem(SCORES, "margin", example("gss/ood/margin.py", folder).Margin)
    logits = torch.tensor([[20.0, 0.0], [0.0, 0.0]]).T[None, :, :, None]  # [1, 2, 2, 1]
    found = build_score("margin")(ScoreInputs(logits=logits, features=logits, size=(2, 1)))
    torch.testing.assert_close(found, torch.tensor([[[0.0], [1.0]]]))


def test_data_set(tmp_path, capsys):
    (tmp_path / "orchard.yaml").write_text(EXAMPLES["configs/data/orchard.yaml"])
    for split in ("train", "val"):
        for part in ("images", "masks"):
            (tmp_path / part / split).mkdir(parents=True)
        Image.new("RGB", (6, 4), (80, 130, 60)).save(tmp_path / "images" / split / "0001.jpg")
        mask = np.array([[0, 0, 0, 1, 1, 255]] * 4, np.uint8)
        Image.fromarray(mask).save(tmp_path / "masks" / split / "0001.png")
    assert main(["data", "check", str(tmp_path / "orchard.yaml"), "--root", str(tmp_path)]) == 0
    assert "fruit" in capsys.readouterr().out


def test_metric(folder):
    metric = MetricCollection({"error": example("gss/metrics/error_rate.py", folder).ErrorRate(3)})
    assert metric.compute()["error"] is None
    metric.update(torch.tensor([[[0, 1, 2, 2]]]), torch.tensor([[[0, 1, 1, 255]]]))
    assert metric.compute()["error"] == pytest.approx(1 / 3)


def test_command(folder, monkeypatch, tmp_path, capsys):
    example("gss/cli/classes.py", folder)
    monkeypatch.setattr(cli, "COMMANDS", {**cli.COMMANDS, "classes": "contributed_classes"})
    assert main(["classes", "camvid", "--json", str(tmp_path / "names.json")]) == 0
    *names, last = capsys.readouterr().out.splitlines()
    assert last == f"wrote {tmp_path / 'names.json'}"
    assert names[0] == "Sky" and json.loads((tmp_path / "names.json").read_text()) == names
