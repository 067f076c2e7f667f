"""The training loop of the documentation has at most 30 lines, learns, and exports a pipeline that predicts."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from gss import GSSPipeline
from gss.data import ScenesDataset

PAGE = Path(__file__).parents[2] / "docs" / "training-loop.md"
CODE = re.search(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)[1]


@pytest.mark.parametrize(
    ("changes", "least"),
    [
        ({"length=48": "length=16", "(vqvae, 6), (prior, 8)": "(vqvae, 3), (prior, 5)"}, 0.35),
        pytest.param({}, 0.7, marks=pytest.mark.slow),
    ],
)
def test_it_learns(changes, least, tmp_path, monkeypatch, capsys):
    assert len(CODE.splitlines()) <= 30
    code = CODE
    for words, replacement in changes.items():
        assert words in code
        code = code.replace(words, replacement)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    exec(compile(code, str(PAGE), "exec"), {})
    losses = {}
    for model, loss in re.findall(r"(\w+): epoch \d+, loss ([\d.]+)", capsys.readouterr().out):
        losses.setdefault(model, []).append(float(loss))
    assert set(losses) == {"MaskigeVQModel", "GSSPriorModel"}
    assert all(values[-1] < 0.8 * values[0] for values in losses.values()), losses
    pipeline, scenes = GSSPipeline.from_pretrained("pipeline"), ScenesDataset("val", length=4, size=(96, 128))
    found = pipeline([scene["image"] for scene in scenes], decode="hard")
    right = [
        (mask == scene["labels"].numpy())[scene["valid"].numpy()].mean()
        for mask, scene in zip(found.masks, scenes, strict=True)
    ]
    assert np.mean(right) > least
