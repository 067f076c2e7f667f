"""The mixture losses against their formulas, pixel by pixel and class by class in float64."""

import itertools

import numpy as np
import pytest
import torch
from agmm_toys import B, D, H, K, W, h, inputs, labels_of, w
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from gss.training.losses.classification import weighted_cross_entropy
from gss.weak.agmm.mixture import (
    EPS,
    adaptive_variance,
    area_mean,
    balanced,
    class_means,
    cross_term,
    energy,
    image_weights,
    label_mass,
    labelled_term,
    mean_absolute_distance,
    mean_squared_distance,
    repulsion,
    tag_term,
    unit_features,
)


def mixture(features, labels):
    mass = label_mass(labels, K, (h, w))
    means, count = class_means(features, mass)
    return mass, means, count > 0


def binary_entropy(target, p):
    """-t log p - (1 - t) log(1 - p), the second logarithm no less than log EPS."""
    return -target * np.log(p) - (1 - target) * np.log(max(1 - p, EPS))


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.integers(0, 1000),
)
def test_mass_is_the_transpose_of_enlargement(grid, factor, seed):
    size = (grid[0] * factor[0], grid[1] * factor[1])
    rng = np.random.default_rng(seed)
    labels = torch.from_numpy(rng.choice([0, 1, 2, 255], (2, *size)))
    x = torch.from_numpy(rng.normal(size=(2, 1, *grid)))
    large = F.interpolate(x, size=size, mode="bilinear")[:, 0]
    mass = label_mass(labels, 3, grid)
    for k in range(3):
        expected = (large * (labels == k)).sum((1, 2))
        torch.testing.assert_close((mass[:, k] * x[:, 0]).sum((1, 2)), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(mass.sum((2, 3)), torch.stack([(labels == k).sum((1, 2)) for k in range(3)], 1).float())


def test_mass_on_a_grid_that_does_not_divide_the_image():
    labels, x = labels_of(), torch.randn(B, 1, 6, 9)
    large = F.interpolate(x, size=(H, W), mode="bilinear")[:, 0]
    expected = (large * (labels == 2)).sum((1, 2))
    torch.testing.assert_close((label_mass(labels, K, (6, 9))[:, 2] * x[:, 0]).sum((1, 2)), expected)


def test_means_are_those_of_enlarged_features():
    features, _, _, labels = inputs()
    _, means, present = mixture(features, labels)
    large = F.interpolate(features, size=(H, W), mode="bilinear").numpy()
    for b, k in itertools.product(range(B), range(K)):
        own = (labels[b] == k).numpy()
        expected = large[b][:, own].mean(1) if own.any() else np.zeros(D)
        np.testing.assert_allclose(means[b, k].numpy(), expected, rtol=1e-5, atol=1e-6)
        assert bool(present[b, k]) == own.any()


@pytest.mark.parametrize(
    ("distance", "plain"),
    [
        (mean_absolute_distance, lambda x, m: np.abs(x - m).mean()),
        (mean_squared_distance, lambda x, m: ((x - m) ** 2).mean()),
    ],
)
def test_distances(distance, plain):
    features, _, _, labels = inputs()
    _, means, _ = mixture(features, labels)
    found = distance(features, means)
    x, m = features.numpy(), means.numpy()
    for b, k, i, j in itertools.product(range(B), range(K), range(h), range(w)):
        assert float(found[b, k, i, j]) == pytest.approx(plain(x[b, :, i, j], m[b, k]), abs=1e-12)
    half = distance(features.float(), means.float())
    torch.testing.assert_close(half.double(), found, rtol=1e-5, atol=1e-5)


def test_unit_features_forget_their_scale():
    features, _, _, _ = inputs()
    unit = unit_features(features)
    torch.testing.assert_close(unit.square().mean(1), torch.ones(B, h, w, dtype=torch.float64), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(unit_features(100 * features), unit, rtol=1e-4, atol=1e-4)
    zeros = torch.zeros(1, D, 2, 2, requires_grad=True)
    unit_features(zeros).sum().backward()
    assert torch.isfinite(zeros.grad).all()


def test_variance():
    features, log_probs, valid, labels = inputs()
    _, means, _ = mixture(features, labels)
    squared, weights = mean_squared_distance(features, means), log_probs.exp() * valid[:, None]
    prior = torch.rand(B, K, dtype=torch.float64)
    for strength in (0.0, 7.0):
        found = adaptive_variance(squared, weights, prior=prior if strength else None, strength=strength)
        for b, k in itertools.product(range(B), range(K)):
            top = sum(float(weights[b, k, i, j] * squared[b, k, i, j]) for i in range(h) for j in range(w))
            bottom = float(weights[b, k].sum())
            expected = (top + strength * float(prior[b, k])) / (bottom + strength)
            assert float(found[b, k]) == pytest.approx(expected)
    assert not adaptive_variance(squared.requires_grad_(), weights).requires_grad
    assert (adaptive_variance(squared, 0 * weights) == 1e-4).all()


def test_cross_term():
    features, log_probs, valid, labels = inputs()
    _, means, present = mixture(features, labels)
    squared = mean_squared_distance(features, means)
    variance = adaptive_variance(squared, log_probs.exp())
    found = cross_term(log_probs, energy(squared, variance), present, valid)
    for b in range(B):
        classes = [k for k in range(K) if present[b, k]]
        top = 0.0
        for i, j in itertools.product(range(h), range(w)):
            cell = 0.0
            for k in classes:
                score = np.exp(-float(squared[b, k, i, j]) / (2 * float(variance[b, k])))
                cell += 0.5 * binary_entropy(score, np.exp(float(log_probs[b, k, i, j])))
            top += float(valid[b, i, j]) * cell / max(len(classes), 1)
        assert float(found[b]) == pytest.approx(top / float(valid[b].sum()))
    assert float(found[-1]) == 0  # no label


def test_labelled_term():
    features, _, _, labels = inputs()
    mass, means, present = mixture(features, labels)
    energies = mean_squared_distance(features, means)
    found = labelled_term(energies, mass, present)
    own = np.zeros((K, H, W))
    for b in range(B - 1):
        classes = [k for k in range(K) if present[b, k]]
        entropy = np.zeros((K, K, h, w))  # of the score of k for a pixel of class j
        for j, k, y, x in itertools.product(range(K), classes, range(h), range(w)):
            entropy[j, k, y, x] = 0.5 * binary_entropy(float(j == k), np.exp(-float(energies[b, k, y, x])))
        loss = torch.from_numpy(entropy[:, classes].mean(1))
        own = F.interpolate(loss[None], size=(H, W), mode="bilinear")[0]  # [K, H, W]
        labelled = [(int(labels[b, y, x]), y, x) for y in range(H) for x in range(W) if labels[b, y, x] < K]
        expected = np.mean([float(own[j, y, x]) for j, y, x in labelled])
        assert float(found[b]) == pytest.approx(expected, rel=1e-5)
    assert float(found[-1]) == 0


def test_repulsion():
    closeness = torch.rand(B, K, K, dtype=torch.float64)
    closeness = closeness + closeness.transpose(1, 2)
    present = torch.tensor([[True, False, True, True], [False, True, False, False], [False] * 4])
    found = repulsion(closeness, present)
    expected = np.mean([float(closeness[0, i, j]) for i, j in itertools.combinations([0, 2, 3], 2)])
    assert found.tolist() == pytest.approx([expected, 0, 0])
    known = torch.tensor([[False] * 4, [True, True, False, True], [True] * 4])
    found = repulsion(closeness, present, known)
    other = np.mean([float(closeness[1, 1, j]) for j in (0, 3)])  # a pair of strangers says nothing of the image
    assert found.tolist() == pytest.approx([expected, other, 0])


def test_tag_term():
    _, log_probs, valid, _ = inputs()
    tags = torch.tensor([[True, False, True, False], [True] * 4, [False, True, False, False]])
    found = tag_term(log_probs, tags, valid)
    for b in range(B):
        top = sum(
            -np.log(max(1 - np.exp(float(log_probs[b, k, i, j])), EPS)) * float(valid[b, i, j])
            for k in range(K)
            if not tags[b, k]
            for i in range(h)
            for j in range(w)
        )
        assert float(found[b]) == pytest.approx(top / float(valid[b].sum()))


@pytest.mark.parametrize("trusted", [False, True])
def test_partial_cross_entropy(trusted):
    """Under `image_weights` the usual loss is the mean over the images with labels of each one's own."""
    logits, labels = torch.randn(B, K, H, W), labels_of()
    confidence = torch.rand(B, H, W) if trusted else None
    weights = image_weights(labels, confidence)
    torch.testing.assert_close(weights.sum((1, 2)), torch.tensor([1.0, 1.0, 0.0]))
    found = weighted_cross_entropy(logits, labels, weights=weights)
    log_probs, images = logits.double().log_softmax(1), []
    for b in range(B - 1):
        own = [(int(labels[b, y, x]), y, x) for y in range(H) for x in range(W) if labels[b, y, x] < K]
        trust = [float(confidence[b, y, x]) if trusted else 1.0 for _, y, x in own]
        images.append(np.average([-float(log_probs[b, k, y, x]) for k, y, x in own], weights=trust))
    assert float(found) == pytest.approx(np.mean(images), rel=1e-5)


def test_gradients():
    """Of features through means and distances, and of logits, against finite differences."""
    few = torch.full((2, 4, 6), 255)
    few[0, 1, 2], few[0, 3, 5], few[0, 0, 0] = 2, 0, 2
    features, log_probs = torch.randn(2, 3, 2, 3, dtype=torch.float64), torch.randn(2, K, 2, 3, dtype=torch.float64)
    mass, valid = label_mass(few, K, (2, 3)).double(), torch.rand(2, 2, 3, dtype=torch.float64)
    variance = torch.rand(2, K, dtype=torch.float64) + 0.5

    def mixture_loss(features, logits, distance):
        means, count = class_means(features, mass)
        energies = energy(distance(features, means), variance)
        between = distance(means.transpose(1, 2)[..., None], means)[..., 0]
        log_probs, present = logits.log_softmax(1), count > 0
        tags = present | torch.tensor([True, False, False, False])
        return (
            cross_term(log_probs, energies, present, valid)
            + labelled_term(energies, mass, present)
            + repulsion((-between).exp(), present)
            + tag_term(log_probs, tags, valid)
        )

    small = features.requires_grad_(), log_probs.requires_grad_()
    assert torch.autograd.gradcheck(lambda f, z: mixture_loss(f, z, mean_squared_distance), small)
    assert torch.autograd.gradcheck(lambda f, z: mixture_loss(f, z, mean_absolute_distance), small)


def test_a_hopeless_pixel_still_has_a_gradient():
    logits = torch.zeros(1, 2, 1, 1)
    logits[0, 0] = 40.0
    logits.requires_grad_()
    tag_term(logits.log_softmax(1), torch.tensor([[False, True]]), torch.ones(1, 1, 1)).sum().backward()
    assert torch.isfinite(logits.grad).all()
    logits = torch.tensor([12.0, 0.0]).view(1, 2, 1, 1).requires_grad_()
    value = tag_term(logits.log_softmax(1), torch.tensor([[False, True]]), torch.ones(1, 1, 1)).sum()
    value.backward()
    assert float(value.detach()) == pytest.approx(-np.log(EPS)) and float(logits.grad[0, 0]) > 0.05


def test_memory_does_not_grow_with_classes_times_channels():
    """No intermediate is larger than the inputs and the [B, K, h, w] results."""
    features, labels = torch.randn(2, 64, 24, 32), torch.randint(0, 150, (2, 96, 128))
    limit = max(features.numel(), 2 * 150 * 24 * 32, labels.numel())
    sizes = []

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            sizes.extend(t.numel() for t in (out if isinstance(out, (tuple, list)) else [out]) if torch.is_tensor(t))
            return out

    with Sizes():
        mass = label_mass(labels, 150, (24, 32))
        means, _ = class_means(features, mass)
        area_mean(mean_absolute_distance(features, means).sum(1), torch.ones(2, 24, 32))
        mean_squared_distance(features, means)
    assert max(sizes) <= limit


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_balanced(power):
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(0, 3, (B, h, w), generator=generator)
    weights = torch.rand(B, h, w, generator=generator)
    weights[0, labels[0] == 1] = 0  # a class without any weight
    found = balanced(labels, weights, K, power)
    for b, k in np.ndindex(B, 3):
        here = labels[b] == k
        area = float(weights[b][here].sum())
        torch.testing.assert_close(found[b][here], torch.full((int(here.sum()),), (area or 1.0) ** -power))
    if power == 1:
        share = torch.stack([(found * weights * (labels == k)).sum((1, 2)) for k in range(3)], 1)
        torch.testing.assert_close(
            share, torch.ones(B, 3) * (torch.arange(3) != 1).where(torch.arange(B)[:, None] == 0, True)
        )
