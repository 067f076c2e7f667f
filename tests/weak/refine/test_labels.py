"""Refined labels: better masks on pictures with edges, certain labels as they were, and `gss weak refine`."""

import time

import numpy as np
import pytest
from PIL import Image

from gss.cli import main
from gss.config.weak_labels import RefineConfig
from gss.data.open import open_split
from gss.data.specs.load import load_spec
from gss.weak.manifest import read_manifest
from gss.weak.refine.labels import refine_labels, refine_probs, spread_labels


def scene(size=(60, 84), seed=0):
    """Return a picture of a disc on a ground, with noise, and its labels 2 and 1."""
    y, x = np.mgrid[: size[0], : size[1]]
    labels = np.where((y - 30) ** 2 + (x - 40) ** 2 < 18**2, 2, 1).astype(np.uint8)
    image = np.where((labels == 2)[..., None], (190, 120, 60), (60, 110, 90)) + np.random.default_rng(seed).normal(
        0, 12, (*size, 3)
    )
    return image.clip(0, 255).astype(np.uint8), labels


def test_two_strokes_become_a_mask():
    image, truth = scene()
    weak = np.full(truth.shape, 255, np.uint8)
    weak[30, 35:45], weak[5, 10:70] = 2, 1
    labels, sure = refine_labels(image, weak, None, 4, RefineConfig(abstain=0.0))
    assert (labels == truth).mean() > 0.97
    assert (spread_labels(image, weak, 4) == labels).all()
    assert set(np.unique(labels)) == {1, 2} and sure.dtype == np.float32
    assert (labels[weak != 255] == truth[weak != 255]).all() and (sure[weak != 255] == 1).all()
    wrong = labels != truth
    assert sure[wrong].mean() < sure[~wrong].mean() - 0.2
    some, _ = refine_labels(image, weak, None, 4, RefineConfig(abstain=0.8))
    assert 0 < (some == 255).mean() < 0.5 and (some[some != 255] == labels[some != 255]).all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_noisy_probabilities_improve(seed):
    image, truth = scene(seed=seed)
    noise = np.kron(np.random.default_rng(seed).normal(0, 1.2, (2, 10, 14)), np.ones((6, 6)))
    lead = np.where(truth == 2, 1.0, -1.0) * 0.8 + noise[0] - noise[1]
    probs = np.stack([1 / (1 + np.exp(lead)), 1 / (1 + np.exp(-lead))])
    before = (probs.argmax(0) + 1 == truth).mean()
    labels, sure = refine_probs(image, probs, None, RefineConfig(abstain=0.0))
    assert (labels + 1 == truth).mean() > max(before + 0.15, 0.9)
    assert sure.min() >= 0 and sure.max() <= 1


def test_doubtful_and_forbidden_labels():
    image, truth = scene()
    weak = np.full(truth.shape, 255, np.uint8)
    weak[30, 35:45], weak[5, 10:70], weak[50, 10:70] = 2, 1, 3
    confidence = np.where(weak == 3, 0.1, 1.0)
    labels, _ = refine_labels(image, weak, confidence, 4, RefineConfig(abstain=0.0))
    assert (labels == 3).mean() < 0.02 and (labels == truth).mean() > 0.95
    allowed = np.array([False, True, True, False])
    labels, _ = refine_labels(image, weak, None, 4, RefineConfig(abstain=0.0), allowed=allowed)
    assert not (labels == 3).any() and (labels == truth).mean() > 0.97


def test_edges_of_another_source():
    image, truth = scene()
    grey = np.full_like(image, 128)
    weak = np.full(truth.shape, 255, np.uint8)
    weak[30, 38:42], weak[5, 10:70] = 2, 1
    edges = np.zeros(truth.shape, np.float32)
    edges[:, 1:] = truth[:, 1:] != truth[:, :-1]
    edges[1:] = np.maximum(edges[1:], truth[1:] != truth[:-1])
    blind, _ = refine_labels(grey, weak, None, 3, RefineConfig(abstain=0.0))
    guided, _ = refine_labels(grey, weak, None, 3, RefineConfig(abstain=0.0), edges=edges)
    assert (guided == truth).mean() > 0.95 > (blind == truth).mean() + 0.02


def test_nothing_known():
    image, truth = scene()
    labels, sure = refine_labels(image, np.full(truth.shape, 255, np.uint8), None, 3, RefineConfig())
    assert (labels == 255).all() and (sure == 0).all()
    single, _ = refine_labels(image, np.where(truth == 2, 255, truth).astype(np.uint8), None, 3, RefineConfig())
    assert (single == 1).all()


def test_sizes_must_agree():
    image, _ = scene()
    with pytest.raises(ValueError, match=r"probs must be \[K, 60, 84\]"):
        refine_probs(image, np.ones((2, 60, 80)), None, RefineConfig())
    with pytest.raises(ValueError, match="confidence must be"):
        refine_probs(image, np.ones((2, 60, 84)), np.ones((3, 3)), RefineConfig())


def test_a_large_image_takes_seconds():
    image = np.kron(np.random.default_rng(0).integers(0, 255, (9, 12, 3)), np.ones((40, 40, 1))).astype(np.uint8)
    labels = np.full((360, 480), 255, np.uint8)
    for k in range(11):
        labels[30 * k + 5 : 30 * k + 8, 40 : 400 - 20 * k] = k
    started = time.process_time()
    refine_labels(image, labels, None, 11, RefineConfig())
    assert time.process_time() - started < 6  # half a second to two, by machine and load


def test_the_command_leaves_a_damaged_image_out_and_names_it(tmp_path, capsys):
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
    for number in range(3):
        image, truth = scene(seed=number)
        Image.fromarray(image).save(tmp_path / f"data/images/{number}.png")
        weak = np.full(truth.shape, 255, np.uint8)
        weak[30, 35:45], weak[5, 10:70] = 1, 0
        Image.fromarray(weak).save(tmp_path / f"data/masks/{number}.png")
    (tmp_path / "data/images/1.png").write_bytes((tmp_path / "data/images/1.png").read_bytes()[:900])
    (tmp_path / "data/data.yaml").write_text(
        "root: .\nimage: images/{id}.png\nsplits: [train]\nclasses: [ground, disc]\n"
        "weak:\n  format: masks\n  path: masks/{id}.png\n"
    )
    command = ["weak", "refine", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    assert main(command) == 1
    said = capsys.readouterr()
    assert "2 masks" in said.out and "1 images failed and have no mask, first: 1" in said.out
    assert "gss: error: 1: " in said.err and "1.png" in said.err
    manifest = read_manifest(tmp_path / "out")
    assert [record.id for record in manifest.masks] == ["0", "2"] and manifest.failed[0].image == "1"
    assert open_split(load_spec(tmp_path / "out"), "train").ids == ["0", "2"]
    for number in (0, 2):
        (tmp_path / f"data/images/{number}.png").write_bytes(b"")
    assert main([*command, "--overwrite"]) == 2
    assert "no pseudo-mask was made" in capsys.readouterr().err
