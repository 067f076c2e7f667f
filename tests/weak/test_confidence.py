"""Labels with a confidence: thresholds, weights and distributions, and trainings that use them."""

import json

import numpy as np
import pytest
import torch
from pseudo_toys import SIZE, truth, write_data, write_masks
from tiny_runs import PRIOR

from gss.config.io import load_config
from gss.config.prior import PriorConfig
from gss.config.shared import WeakConfig
from gss.data.datasets import SegmentationDataset
from gss.data.open import build_dataset
from gss.data.specs.load import load_spec
from gss.training.run import train
from gss.weak.confidence import ConfidenceWeighting, class_thresholds, doubt


@pytest.fixture
def spec(tmp_path):
    return write_data(tmp_path)


def test_thresholds_make_pixels_void():
    labels = torch.tensor([[[0, 1, 2, 255]]])
    confidence = torch.tensor([[[0.4, 0.6, 0.9, 0.0]]])

    class Data:
        label_space = load_spec("camvid").label_space

    def weigh(**options):
        return ConfidenceWeighting(WeakConfig(**options), Data())(labels, confidence)

    assert weigh(weighting="threshold", threshold=0.6).labels.tolist() == [[[255, 1, 2, 255]]]
    assert weigh(weighting="threshold", threshold=0.6).weights is None
    linear = weigh(weighting="linear")
    assert torch.equal(linear.labels, labels) and torch.equal(linear.weights, confidence) and linear.doubt is None
    assert weigh(weighting="none").weights is None
    rest, extra = weigh(loss="soft").doubt
    torch.testing.assert_close((rest + extra)[0, 0], torch.tensor([0.4, 0.6, 0.9, 1 / 11]))
    assert ConfidenceWeighting(WeakConfig(), Data())(labels, None) == (labels, None, None)


def test_share_keeps_the_best_of_each_class(spec, tmp_path):
    def labels(number):
        return np.where(truth(number) == 2, 255, truth(number)).astype(np.uint8)

    write_masks(spec, tmp_path / "p", labels=labels)
    data = SegmentationDataset(load_spec(tmp_path / "p"), "train")
    thresholds = class_thresholds(data, 0.3)
    pairs = [(data.read(i)[1], data.read_weak(i)[1]) for i in range(4)]
    for k in range(2):
        sure = np.concatenate([c[m == k] for m, c in pairs])
        assert 0.3 <= (sure >= thresholds[k]).mean() < 0.3 + 0.03
        assert thresholds[k] == pytest.approx(np.quantile(sure, 0.7), abs=0.01)
    assert class_thresholds(data, 1.0).max() < 0.05


def test_doubt_is_a_distribution():
    confidence = torch.linspace(0, 1, 11)
    rest, extra = doubt(confidence, 4)
    torch.testing.assert_close(4 * rest + extra, torch.ones(11))
    torch.testing.assert_close(rest + extra, confidence.clamp(min=0.25))
    assert (extra >= 0).all()


def twin(folder, *more):
    pairs = [pair for pair in PRIOR if not pair.startswith(("data.crop", "train.batch"))]
    return load_config(
        PriorConfig, [], [f"data.spec={folder}", "data.crop=[32,48]", "train.batch_size=2", *pairs, *more]
    )


def test_training_on_pseudo_masks(spec, tmp_path):
    def some(number):
        labels = truth(number)
        labels[:, :16] = 255
        return np.full(SIZE, 255, np.uint8) if number == 3 else labels

    write_masks(spec, tmp_path / "p", labels=some)
    for more in ((), ("weak.weighting=threshold", "weak.loss=collision"), ("weak.weighting=share", "weak.loss=soft")):
        out = tmp_path / f"run{len(more) and more[0][-1]}"
        metrics = train("twin", twin(tmp_path / "p", "train.steps=3", *more), out)
        assert 0 <= metrics["aux_miou"] <= 1
        losses = [json.loads(line).get("loss") for line in (out / "metrics.jsonl").read_text().splitlines()]
        assert all(np.isfinite(value) for value in losses if value is not None)
    with pytest.raises(ValueError, match="is labelled c"):
        write_masks(spec, tmp_path / "q", labels=lambda n: np.minimum(truth(n), 1))
        train("twin", twin(tmp_path / "q", "train.steps=1"), tmp_path / "no")


def test_linear_weights_reach_the_loss(spec, tmp_path):
    """Pixels of confidence 0 might as well be void, and a constant confidence changes nothing."""
    from gss.posterior.bundle import Posterior
    from gss.training.prior.task import PriorTask
    from gss.training.prior.train import load_posterior

    write_masks(spec, tmp_path / "p")
    cfg = twin(tmp_path / "p", "loss.token=0", "loss.pixel=0")
    data = build_dataset(cfg.data, "train", train=False)
    posterior: Posterior = load_posterior(cfg, data, twin=True)
    task = PriorTask(cfg, posterior, data, data).eval()
    batch = torch.utils.data.default_collate([data[0], data[1]])
    upper = batch["labels"].clone()
    upper[:, 16:] = 255
    masked = task({**batch, "labels": upper, "confidence": torch.ones_like(batch["confidence"])}, 0)["loss"]
    zeroed = torch.ones_like(batch["confidence"])
    zeroed[:, 16:] = 0
    torch.testing.assert_close(task({**batch, "confidence": zeroed}, 0)["loss"], masked)
    plain = task({key: value for key, value in batch.items() if key != "confidence"}, 0)["loss"]
    half = torch.full_like(batch["confidence"], 0.5)
    torch.testing.assert_close(task({**batch, "confidence": half}, 0)["loss"], plain)
