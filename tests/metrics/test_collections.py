"""Every metric works in a `MetricCollection`: update, forward, compute, clone and reset, also beside its like."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from metric_checks import equal, state_of
from torchmetrics import Metric, MetricCollection

import gss.metrics
from vqvae import CodebookUsage

K, SIZE = 4, (13, 22)
RANDOM = np.random.default_rng(0)
DATA = SimpleNamespace(domains={"town": range(2), "land": range(2, 4)}, annotated={"town": [0, 1, 2], "land": [0, 1]})


def labels(*shape):
    return RANDOM.integers(0, K, (*shape, *SIZE))


def outliers(*shape):
    return RANDOM.choice([0, 1, 255], (*shape, *SIZE))


def scores(*shape):
    return RANDOM.normal(200, 50, (*shape, *SIZE)).astype(np.float32)


def probabilities():
    return torch.from_numpy(RANDOM.dirichlet(np.ones(K), SIZE).astype(np.float32)).movedim(-1, 0)


def several(count):
    return torch.from_numpy(labels(count))


# Name: the metric, another of its class with other settings, and the arguments of an update.
CASES = {
    "AlarmRate": (dict(threshold=200.0), dict(threshold=250.0), lambda i: (scores(), outliers())),
    "AlarmThreshold": (dict(share=0.1), dict(share=0.2), lambda i: (scores(), labels())),
    "BoundaryF": (dict(num_classes=K), dict(num_classes=K, boundary_px=1), lambda i: (labels(2), labels(2))),
    "CalibrationError": (dict(num_classes=K), dict(num_classes=K, bins=5), lambda i: (probabilities(), labels())),
    "ComponentMetrics": (dict(rules="obstacle"), dict(rules="anomaly"), lambda i: (scores() > 250, outliers())),
    "DomainMetrics": (dict(dataset=DATA, num_classes=K), None, lambda i: (i, labels(), labels())),
    "GeneralisedEnergyDistance": (
        dict(num_classes=K),
        dict(num_classes=K, classes=(1, 2)),
        lambda i: (several(3), several(2)),
    ),
    "LabelQuality": (dict(num_classes=K), dict(num_classes=K + 1), lambda i: (labels(), None, labels())),
    "LayoutStatistics": (dict(num_classes=K), dict(num_classes=K + 1), lambda i: (labels(),)),
    "MaskDistances": (dict(num_classes=K), dict(num_classes=K, size=(24, 32)), lambda i: (labels(),)),
    "MatchedIoU": (dict(num_classes=K), dict(num_classes=K, foreground=True), lambda i: (several(2), several(2))),
    "ModeCalibration": (
        dict(num_classes=K, modes=2),
        dict(num_classes=K, modes=2, classes=(1,)),
        lambda i: (several(4), several(2), torch.tensor([0.25, 0.75])),
    ),
    "OODMetrics": (dict(), dict(tpr=0.5), lambda i: (scores(2), outliers(2))),
    "OpenSetMetrics": (
        dict(num_classes=K, threshold=200.0),
        dict(num_classes=K, threshold=250.0),
        lambda i: (labels(), scores(), labels()),
    ),
    "SegmentationMetrics": (
        dict(num_classes=K),
        dict(num_classes=K, ece_bins=5),
        lambda i: (probabilities(), labels()),
    ),
    "SeveralMasks": (
        dict(num_classes=K, counts=(1, 2)),
        dict(num_classes=K, counts=(1, 3)),
        lambda i: (several(3), [labels(), labels()], labels()),
    ),
    "UncertaintyQuality": (dict(), None, lambda i: (scores() / 1000, labels(), labels())),
    "CodebookUsage": (dict(codebook_size=16), None, lambda i: (torch.from_numpy(labels()),)),
}


def metric_class(name):
    return CodebookUsage if name == "CodebookUsage" else getattr(gss.metrics, name)


def test_every_metric_is_listed():
    found = [getattr(gss.metrics, name) for name in gss.metrics.__all__]
    known = {part.__name__ for part in found if isinstance(part, type) and issubclass(part, Metric)}
    assert known | {"CodebookUsage"} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_in_a_collection(name):
    settings, others, batch = CASES[name]
    made = metric_class(name)
    batches = [batch(index) for index in range(3)]
    members = {"first": made(**settings), "second": made(**settings)}
    if others is not None:
        members["other"] = made(**others)
    alone = pickle.loads(pickle.dumps(members))
    collection = MetricCollection(members, prefix="val_").clone()
    for number, arguments in enumerate(batches):
        collection.update(*arguments) if number else collection(*arguments)
        for metric in alone.values():
            metric.update(*arguments)
    results = collection.compute()
    assert results and all(key.startswith("val_") for key in results)
    for key, metric in alone.items():
        assert repr(collection[key].compute()) == repr(metric.compute()), key
    collection.reset()
    assert equal(state_of(collection["first"]), state_of(made(**settings)))


def test_all_that_compare_masks_with_truth_together():
    together = {
        "segmentation": gss.metrics.SegmentationMetrics(K),
        "boundary": gss.metrics.BoundaryF(K),
        "calibration": gss.metrics.CalibrationError(K),
    }
    collection = MetricCollection(together)
    prediction, target = probabilities(), labels()
    collection.update(prediction, target)
    found = collection.compute()
    alone = gss.metrics.SegmentationMetrics(K)
    alone.update(prediction, target)
    assert found["segmentation_miou"] == alone.compute()["miou"]
