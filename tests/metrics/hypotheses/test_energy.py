"""Energy distance against loops, against reference values, and its conventions."""

import itertools
import math

import numpy as np
import pytest
import torch

from gss.core.errors import InputError
from gss.metrics import GeneralisedEnergyDistance
from gss.metrics.hypotheses.pairs import CONVENTIONS

K = 4


def naive_iou(a, b, classes, absent):
    values = []
    for label in classes:
        both, either = ((a == label) & (b == label)).sum(), ((a == label) | (b == label)).sum()
        if either:
            values.append(both / either)
        elif absent != "left out":
            values.append(1.0 if absent == "one" else 0.0)
    return sum(values) / len(values) if values else 1.0


def naive_ged(samples, truths, classes, convention, sample_weights, truth_weights):
    def mean(first, second, w, v, skip=False):
        total = mass = 0.0
        for i, j in itertools.product(range(len(first)), range(len(second))):
            if skip and i == j:
                continue
            total += w[i] * v[j] * (1 - naive_iou(first[i], second[j], classes, convention.absent))
            mass += w[i] * v[j]
        return total / mass

    return (
        2 * mean(samples, truths, sample_weights, truth_weights)
        - mean(samples, samples, sample_weights, sample_weights, skip=convention.unbiased)
        - mean(truths, truths, truth_weights, truth_weights)
    )


@pytest.mark.parametrize("name", CONVENTIONS)
def test_it_is_that_of_loops(name):
    random = np.random.default_rng(0)
    metric, expected = GeneralisedEnergyDistance(K, convention=name), []
    for _ in range(3):
        samples, truths = random.integers(0, 3, (4, 5, 7)), random.integers(0, K, (3, 5, 7))
        samples[0] = 0
        weights = [random.random(len(part)) for part in (samples, truths)]
        weights = [part / part.sum() for part in weights]
        metric.update(samples, truths, sample_weights=weights[0], truth_weights=weights[1])
        classes = range(1 if CONVENTIONS[name].foreground else 0, K)
        expected.append(naive_ged(samples, truths, classes, CONVENTIONS[name], *weights))
    result = metric.compute()
    assert result.ged == pytest.approx(np.mean(expected), abs=1e-8)
    assert (result.convention, result.images) == (name, 3)


def flip_world(p, kind, n, images, seed=0):
    """Return the mean GED of one flipping class over images that show only the class."""
    random, metric = np.random.default_rng(seed), GeneralisedEnergyDistance(2)
    size = (40, 50) if kind == "factorised" else (2, 3)
    truths = np.stack([np.zeros(size, int), np.ones(size, int)])
    for _ in range(images):
        if kind == "argmax":
            samples = np.full((n, *size), int(p > 0.5))
        elif kind == "factorised":
            samples = (random.random((n, *size)) < p).astype(int)
        else:
            samples = np.repeat((random.random(n) < p).astype(int), 6).reshape(n, *size)
        metric.update(samples, truths, truth_weights=[1 - p, p])
    return metric.compute().ged


@pytest.mark.parametrize(
    ("p", "kind", "n", "value"),
    [
        (1 / 2, "argmax", 16, 0.50),
        (1 / 2, "factorised", 16, 0.375),
        (1 / 2, "factorised", 100, 0.340),
        (1 / 2, "joint", 16, 0.034),
        (1 / 2, "joint", 100, 0.004),
        (8 / 17, "argmax", 16, 0.443),
        (8 / 17, "factorised", 16, 0.376),
        (8 / 17, "joint", 16, 0.039),
        (4 / 17, "argmax", 16, 0.111),
        (4 / 17, "factorised", 16, 0.415),
        (4 / 17, "joint", 16, 0.019),
    ],
)
def test_reference_values_of_one_flipping_class(p, kind, n, value):
    images = {"argmax": 1, "factorised": 4}.get(kind, 400 if n == 16 else 100)
    # The mean of the joint sampler over images has a spread of about a tenth of itself.
    tolerance = 0.002 if kind != "joint" else 0.012
    assert flip_world(p, kind, n, images) == pytest.approx(value, abs=tolerance)


def test_a_perfect_sampler_scores_zero_without_bias():
    """2 E d(S, Y) - E d(S, S') - E d(Y, Y') of independent draws of one distribution has the mean 0."""
    random, metric = np.random.default_rng(1), GeneralisedEnergyDistance(2, convention="unbiased")
    truths = np.stack([np.zeros((2, 2), int), np.ones((2, 2), int)])
    for _ in range(800):
        samples = np.repeat((random.random(4) < 0.3).astype(int), 4).reshape(4, 2, 2)
        metric.update(samples, truths, truth_weights=[0.7, 0.3])
    assert abs(metric.compute().ged) < 0.03


def test_void_of_any_truth_does_not_count():
    samples, truths = np.zeros((1, 2, 3), int), np.ones((2, 2, 3), int)
    truths[0, :, 0] = truths[1, :, 1] = 255
    truths[:, :, 2] = 0
    metric = GeneralisedEnergyDistance(2)
    metric.update(samples, truths)
    assert metric.compute().ged == pytest.approx(0)


def test_empty_masks_tell_the_conventions_apart():
    empty = np.zeros((1, 3, 3), int)
    values = {}
    for name in ("ccdm", "atfm"):
        metric = GeneralisedEnergyDistance(2, convention=name)
        metric.update(empty, empty)
        result = metric.compute()
        values[name] = (result.cross, result.ged)
    assert values == {"ccdm": (0, 0), "atfm": (1, 0)}


def test_merged_halves_are_the_whole():
    random = np.random.default_rng(2)
    batches = [(random.integers(0, K, (3, 4, 4)), random.integers(0, K, (2, 4, 4))) for _ in range(6)]
    whole, halves = GeneralisedEnergyDistance(K), [GeneralisedEnergyDistance(K) for _ in range(2)]
    for number, batch in enumerate(batches):
        whole.update(*batch)
        halves[number % 2].update(*batch)
    halves[1].merge(halves[0])
    assert halves[1].compute() == whole.compute()
    assert math.isfinite(whole.compute().ged)


def test_nothing_counted_is_none():
    assert GeneralisedEnergyDistance(2).compute().ged is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"convention": "ccdn"}, "unknown convention 'ccdn', did you mean 'ccdm'"),
        ({"classes": [4]}, "classes holds 4, allowed are 0..3"),
        ({"convention": "ccdm", "classes": [0]}, "at least one class must be left"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        GeneralisedEnergyDistance(K, **options)


def test_bad_input_is_refused():
    metric, masks = GeneralisedEnergyDistance(2), torch.zeros(2, 3, 3, dtype=torch.int64)
    with pytest.raises(InputError, match=r"samples must be whole numbers \[n, H, W\]"):
        metric.update(masks[0], masks)
    with pytest.raises(InputError, match="truths holds label 2"):
        metric.update(masks, masks + 2)
    with pytest.raises(InputError, match="truth_weights must be 2 numbers"):
        metric.update(masks, masks, truth_weights=[1.0])
