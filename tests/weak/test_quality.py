"""The report on weak labels and pseudo-masks: its figures by their definitions, text, JSON and HTML."""

import json

import numpy as np
import pytest
from PIL import Image

from gss.cli import main
from gss.data.specs.load import load_spec
from gss.metrics.label_quality import BINS, LabelQuality
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


def test_figures_are_their_definitions():
    quality, parts = LabelQuality(K), [sample(seed) for seed in range(3)]
    for labels, confidence, truth in parts:
        quality.update(labels, confidence, truth)
    found = quality.compute()
    labels, confidence, truth = (np.concatenate([part[i].ravel() for part in parts]) for i in range(3))
    assert found["coverage"] == pytest.approx((labels != 255).mean())
    valid = truth != 255
    known, right = valid & (labels != 255), valid & (labels == truth)
    assert found["precision"] == pytest.approx(right.sum() / known.sum())
    assert found["recall"] == pytest.approx(right.sum() / valid.sum())
    for k in range(K - 1):
        hits, said, true = ((right & (labels == k)).sum(), (known & (labels == k)).sum(), (truth == k).sum())
        assert found["iou"][k] == pytest.approx(hits / (said + true - hits))
        assert found["precision_per_class"][k] == pytest.approx(hits / said)
        assert found["recall_per_class"][k] == pytest.approx(hits / true)
    assert found["iou"][K - 1] is None
    assert found["miou"] == pytest.approx(np.mean(found["iou"][: K - 1]))
    place = np.ceil(confidence[known] * BINS).clip(1) - 1
    error = sum(abs((right[known] * 1.0 - confidence[known])[place == b].sum()) for b in range(BINS)) / known.sum()
    assert found["ece"] == pytest.approx(error, abs=2e-3)
    half = known & (confidence > 0.5)
    point = next(p for p in found["curve"] if p["confidence"] == 0.5)
    assert point["coverage"] == pytest.approx(half.sum() / valid.sum(), abs=2e-3)
    assert point["precision"] == pytest.approx((right & half).sum() / half.sum(), abs=2e-3)


def test_without_truth_only_coverage():
    quality = LabelQuality(K)
    quality.update(sample(0)[0], None, None)
    quality.update(np.full(SIZE, 255, np.uint8), None, None)
    found = quality.compute()
    assert set(found) == {"images", "unlabelled_images", "coverage", "pixels"}
    assert found["unlabelled_images"] == 1 and sum(found["pixels"]) == (sample(0)[0] != 255).sum()
    quality = LabelQuality(K)
    quality.update(np.full(SIZE, 255, np.uint8), np.zeros(SIZE), np.zeros(SIZE, np.uint8))
    found = quality.compute()
    assert found["precision"] is None and found["recall"] == 0 and found["miou"] == 0 and "ece" not in found


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="give the data set they were made for"):
        LabelQuality(K).update(np.zeros(SIZE, np.uint8), None, np.zeros((3, 3), np.uint8))


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
    assert "3 images" in out and "ece" in out and "never labelled: d" in out
    quality = LabelQuality(K)
    for number in range(3):
        quality.update(*sample(number))
    found, wanted = json.loads((folder / "r.json").read_text()), quality.compute()
    assert found["miou"] == pytest.approx(wanted["miou"]) and found["ece"] == pytest.approx(wanted["ece"], abs=1e-4)
    page = (folder / "r.html").read_text()
    assert all(text in page for text in ("Reliability", "Precision over coverage", "Calibration error", "confidence"))
    assert page.count('loading="lazy"') == 15


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
