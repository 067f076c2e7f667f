"""The report on weak labels and pseudo-masks: its figures by their definitions, text, JSON and HTML."""

import json

import numpy as np
import pytest
from page_checks import check_answer
from PIL import Image

from gss.cli import main
from gss.data.specs.load import load_spec
from gss.metrics.label_quality import LabelQuality
from gss.weak.pseudo_masks import PseudoMask, PseudoMaskWriter

K, SIZE = 4, (24, 31)
RNG = np.random.default_rng(3)


def sample(seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, K - 1, SIZE).astype(np.uint8)  # the last class never occurs
    labels = np.where(rng.random(SIZE) < 0.7, truth, rng.integers(0, K - 1, SIZE)).astype(np.uint8)
    labels[rng.random(SIZE) < 0.3] = 255
    truth[rng.random(SIZE) < 0.1] = 255
    return labels, rng.random(SIZE), truth


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "full"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for number in range(3):
        Image.fromarray(RNG.integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(root / f"images/{number}.png")
        Image.fromarray(sample(number)[2]).save(root / f"masks/{number}.png")
    (root / "data.yaml").write_text(
        "root: .\nimage: images/{id}.png\nmask: masks/{id}.png\nsplits: [train]\nclasses: [a, b, c, d]\n"
    )
    with PseudoMaskWriter(tmp_path / "pseudo", load_spec(root), "train", producer="t", bits=16) as writer:
        for number in range(3):
            labels, confidence, _ = sample(number)
            writer.add(PseudoMask(str(number), labels, confidence))
    return tmp_path


def test_command(folder, capsys):
    command = ["weak", "report", str(folder / "pseudo")]
    assert main(command) == 0
    assert "precision" not in capsys.readouterr().out
    files = ["--json", str(folder / "r.json"), "--html", str(folder / "r.html")]
    assert main([*command, "--truth", str(folder / "full"), *files]) == 0
    out = capsys.readouterr().out
    assert "3 images" in out and "calibration error" in out and "never labelled: d" in out
    quality = LabelQuality(K)
    for number in range(3):
        quality.update(*sample(number))
    found, wanted = json.loads((folder / "r.json").read_text()), quality.compute()
    assert found["miou"] == pytest.approx(wanted["miou"]) and found["ece"] == pytest.approx(wanted["ece"], abs=1e-4)
    page = (folder / "r.html").read_text()
    assert "the labels reach a mIoU of" in check_answer(page)
    assert all(text in page for text in ("Reliability", "Precision over coverage", "Calibration error", "confidence"))
    assert page.count('loading="lazy"') == 15 + 4  # those that prove the answer come twice


def test_mistakes(folder, capsys):
    other = folder / "other.yaml"
    other.write_text(
        "root: full\nimage: images/{id}.png\nmask: masks/{id}.png\nsplits: [train]\nclasses: [w, x, y, z]\n"
    )
    assert main(["weak", "report", str(folder / "pseudo"), "--truth", str(other)]) == 2
    assert "the classes differ" in capsys.readouterr().err
    (folder / "full/images/2.png").rename(folder / "full/images/9.png")
    (folder / "full/masks/2.png").rename(folder / "full/masks/9.png")
    assert main(["weak", "report", str(folder / "full"), "--truth", str(folder / "pseudo")]) == 2
    assert "has weak labels" in capsys.readouterr().err
