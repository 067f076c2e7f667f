"""Random walks and Potts steps: equal to their dense or plain forms, and better labels on a picture with edges."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gss.config.weak_labels import RefineConfig
from gss.weak.refine.labels import refine_labels, refine_probs
from gss.weak.refine.potts import edge_gates, potts_energy, potts_refine
from gss.weak.refine.walks import absorbing_walk, edge_affinity, edge_map, feature_affinity, random_walk

RNG = np.random.default_rng(0)


def walked(edges, i, j):
    """Largest edge on the line between two pixels."""
    (y0, x0), (y1, x1) = sorted((i, j))
    count = max(abs(y1 - y0), abs(x1 - x0))
    steps = [(y0 + round(k * (y1 - y0) / count), x0 + round(k * (x1 - x0) / count)) for k in range(count + 1)]
    return max(edges[step] for step in steps)


def test_edge_affinity_is_its_definition():
    edges = RNG.random((6, 9))
    matrix = edge_affinity(edges, radius=2.5, power=3).toarray()
    pixels = [(y, x) for y in range(6) for x in range(9)]
    for a, i in enumerate(pixels):
        for b, j in enumerate(pixels):
            near = 0 < (i[0] - j[0]) ** 2 + (i[1] - j[1]) ** 2 <= 2.5**2
            wanted = 1.0 if a == b else (1 - walked(edges, i, j)) ** 3 if near else 0.0
            assert matrix[a, b] == pytest.approx(wanted, abs=1e-6)
    np.testing.assert_array_equal(matrix, matrix.T)


def test_feature_affinity_is_its_definition():
    features = RNG.normal(size=(4, 5, 7))
    matrix = feature_affinity(features, radius=1.5, scale=2.0).toarray()
    flat = features.reshape(4, -1).T
    y, x = np.divmod(np.arange(35), 7)
    near = (y[:, None] - y) ** 2 + (x[:, None] - x) ** 2 <= 1.5**2
    wanted = np.exp(-((flat[:, None] - flat) ** 2).sum(-1) / 8) * near
    np.testing.assert_allclose(matrix, wanted, atol=1e-6)
    automatic = feature_affinity(features, radius=1).toarray()
    np.testing.assert_allclose(automatic, feature_affinity(features * 10, radius=1).toarray(), atol=1e-5)
    assert (feature_affinity(np.ones((3, 4, 5)), radius=1).data == 1).all()


@pytest.mark.parametrize("steps", [0, 1, 2, 7, 64, 256])
def test_random_walk_equals_the_dense_power(steps):
    affinity = edge_affinity(RNG.random((7, 9)), radius=2)
    scores = RNG.random((63, 3))
    dense = affinity.toarray().astype(np.float64)
    dense /= dense.sum(1, keepdims=True)
    wanted = np.linalg.matrix_power(dense, steps) @ scores
    np.testing.assert_allclose(random_walk(affinity, scores, steps=steps), wanted, atol=1e-4)
    with pytest.raises(ValueError, match="steps is -1"):
        random_walk(affinity, scores, steps=-1)


def test_random_walk_saves_products():
    affinity, calls = edge_affinity(RNG.random((5, 6)), radius=1), []

    class Counting(type(affinity)):
        def __matmul__(self, other):
            calls.append(1)
            return super().__matmul__(other)

    import gss.weak.refine.walks as module

    with pytest.MonkeyPatch.context() as patch:
        scaled = module._scaled
        patch.setattr(module, "_scaled", lambda *a: Counting(scaled(*a)))
        random_walk(affinity, RNG.random((30, 2)), steps=256)
    assert len(calls) < 256 / 2.5


@given(st.integers(0, 1000))
def test_absorbing_walk_equals_the_dense_solution(seed):
    rng = np.random.default_rng(seed)
    affinity = edge_affinity(rng.random((6, 8)) * 0.9, radius=2)
    strength = np.where(rng.random(48) < 0.2, rng.random(48) * 5, 0)
    strength[rng.integers(48)] = 1.0
    targets = rng.dirichlet(np.ones(3), 48)
    links = affinity.toarray().astype(np.float64)
    np.fill_diagonal(links, 0)
    system = np.diag(strength + links.sum(1)) - links
    wanted = np.linalg.solve(system, strength[:, None] * targets)
    found = absorbing_walk(affinity, targets, strength, tolerance=1e-6)
    np.testing.assert_allclose(found, wanted, atol=2e-4)
    np.testing.assert_allclose(found.sum(1), 1, atol=2e-4)
    again = absorbing_walk(affinity, targets, strength, start=wanted, tolerance=1e-4, most=2)
    np.testing.assert_allclose(again, wanted, atol=1e-3)


def test_edges_are_relative_to_the_contrast_of_the_image():
    image = np.zeros((20, 30, 3))
    image[:, 15:] = 200
    edges = edge_map(image)
    assert edges[10, 14] > 0.9 and edges[10, 3] < 1e-3
    np.testing.assert_allclose(edge_map(image / 50), edges, atol=1e-4)
    assert (edge_map(np.full((5, 6, 3), 9)) == 0).all()


@given(st.integers(0, 10_000), st.floats(0, 5), st.integers(2, 5))
def test_potts_steps_never_raise_the_energy(seed, strength, K):
    generator = torch.Generator().manual_seed(seed)
    probs = torch.rand(K, 7, 9, generator=generator, dtype=torch.float64) ** 3
    probs /= probs.sum(0)
    weights = torch.rand(7, 9, generator=generator, dtype=torch.float64)
    weights[weights < 0.3] = 0
    gates = edge_gates(torch.rand(7, 9, generator=generator, dtype=torch.float64))
    soft, before = probs, np.inf
    for _ in range(6):
        soft = potts_refine(probs, weights, gates, start=soft, strength=strength, iterations=1)
        energy = float(potts_energy(soft, probs, weights, gates, strength=strength))
        assert energy <= before + 1e-6
        torch.testing.assert_close(soft.sum(0), torch.ones(7, 9, dtype=torch.float64))
        before = energy


def test_potts_energy_is_its_formula():
    soft, probs = (torch.rand(3, 4, 5, dtype=torch.float64).softmax(0) for _ in range(2))
    weights, edges = torch.rand(4, 5, dtype=torch.float64), torch.rand(4, 5, dtype=torch.float64)
    wanted = -sum(weights[y, x] * (probs[:, y, x] @ soft[:, y, x]).log() for y in range(4) for x in range(5))
    for y in range(4):
        for x in range(5):
            for b, a in ((y, x + 1), (y + 1, x)):
                if b < 4 and a < 5:
                    gate = (1 - max(edges[y, x], edges[b, a])) ** 4
                    wanted = wanted - 0.7 * gate * (soft[:, y, x] @ soft[:, b, a]).log()
    torch.testing.assert_close(potts_energy(soft, probs, weights, edge_gates(edges), strength=0.7), wanted)


def test_gates_close_where_dilated_edges_are():
    edges = torch.zeros(9, 9)
    edges[4, 4] = 1
    right, below = edge_gates(edges)
    assert right[4, 4] == right[4, 3] == below[3, 4] == 0 and right[4, 2] == 1
    wide, _ = edge_gates(edges, dilate=3)
    assert wide[4, 2] == 0 and wide[4, 1] == 1


def scene(size=(60, 84)):
    """A disc on a ground, with noise; labels 2 and 1."""
    y, x = np.mgrid[: size[0], : size[1]]
    labels = np.where((y - 30) ** 2 + (x - 40) ** 2 < 18**2, 2, 1).astype(np.uint8)
    image = np.where((labels == 2)[..., None], (190, 120, 60), (60, 110, 90)) + RNG.normal(0, 12, (*size, 3))
    return image.clip(0, 255).astype(np.uint8), labels


def test_two_strokes_become_a_mask():
    image, truth = scene()
    weak = np.full(truth.shape, 255, np.uint8)
    weak[30, 35:45], weak[5, 10:70] = 2, 1
    labels, sure = refine_labels(image, weak, None, 4, RefineConfig(abstain=0.0))
    assert (labels == truth).mean() > 0.97
    assert set(np.unique(labels)) == {1, 2} and sure.dtype == np.float32
    assert (labels[weak != 255] == truth[weak != 255]).all() and (sure[weak != 255] == 1).all()
    wrong = labels != truth
    assert sure[wrong].mean() < sure[~wrong].mean() - 0.2
    some, _ = refine_labels(image, weak, None, 4, RefineConfig(abstain=0.8))
    assert 0 < (some == 255).mean() < 0.5 and (some[some != 255] == labels[some != 255]).all()


def test_noisy_probabilities_improve():
    image, truth = scene()
    noise = np.kron(RNG.normal(0, 1.2, (2, 10, 14)), np.ones((6, 6)))
    lead = np.where(truth == 2, 1.0, -1.0) * 0.8 + noise[0] - noise[1]
    probs = np.stack([1 / (1 + np.exp(lead)), 1 / (1 + np.exp(-lead))])
    before = (probs.argmax(0) + 1 == truth).mean()
    labels, sure = refine_probs(image, probs, None, RefineConfig(abstain=0.0))
    assert before < 0.85 and (labels + 1 == truth).mean() > 0.95
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
    with pytest.raises(ValueError, match="radius is 0.5"):
        edge_affinity(np.zeros((4, 4)), radius=0.5)


def test_a_large_image_takes_two_seconds_at_most():
    image = np.kron(RNG.integers(0, 255, (9, 12, 3)), np.ones((40, 40, 1))).astype(np.uint8)
    labels = np.full((360, 480), 255, np.uint8)
    for k in range(11):
        labels[30 * k + 5 : 30 * k + 8, 40 : 400 - 20 * k] = k
    started = time.process_time()
    refine_labels(image, labels, None, 11, RefineConfig())
    assert time.process_time() - started < 2
