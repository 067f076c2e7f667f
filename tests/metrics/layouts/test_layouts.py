"""Sets of masks against loops."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from gss.core.errors import InputError
from gss.metrics import LayoutStatistics, MaskDistances
from gss.metrics.layouts.neighbours import nearest_figures, neighbour_figures
from gss.metrics.layouts.statistics import adjacency_counts, class_shapes, frechet_distance, jensen_shannon

K = 4


def masks(count, seed, size=(12, 15)):
    random = np.random.default_rng(seed)
    return [np.repeat(np.repeat(random.integers(0, K, (4, 5)), 3, 0), 3, 1)[: size[0], : size[1]] for _ in range(count)]


def test_frechet_distance_is_that_of_matrix_roots():
    random = np.random.default_rng(0)
    first, second = random.random((20, K)), random.random((30, K)) + 0.1
    means = [rows.mean(0) for rows in (first, second)]
    covariances = [np.cov(rows, rowvar=False, bias=True) for rows in (first, second)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(first, second) == pytest.approx(expected)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)


def test_adjacency_is_that_of_loops():
    labels = masks(1, 1)[0]
    labels[2, 3] = 255
    expected = np.zeros((2, K, K), int)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            for axis, (v, u) in enumerate(((y + 1, x), (y, x + 1))):
                if v < labels.shape[0] and u < labels.shape[1]:
                    a, b = labels[y, x], labels[v, u]
                    if a != b and 255 not in (a, b):
                        expected[axis, a, b] += 1
    assert np.array_equal(adjacency_counts(labels, K), expected)


def test_jensen_shannon():
    assert jensen_shannon(np.array([1, 0]), np.array([0, 3])) == pytest.approx(1)
    assert jensen_shannon(np.array([1, 3]), np.array([2, 6])) == 0
    assert jensen_shannon(np.array([0, 0]), np.array([2, 6])) is None
    p, q = np.array([0.25, 0.75]), np.array([0.5, 0.5])
    entropy = lambda r: -(r * np.log2(r)).sum()  # noqa: E731
    assert jensen_shannon(p, q) == pytest.approx(entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2)


def test_shapes():
    labels = np.zeros((20, 40), int)
    labels[5:8] = 1  # a strip of 3 pixels, from border to border
    labels[12, 3], labels[13, 4], labels[15, 20] = 2, 2, 2  # two touch at a corner
    components, thickness = class_shapes(labels, K)
    assert components.tolist() == [2, 1, 2, 0]
    assert thickness[1] == pytest.approx(3)
    assert np.isnan(thickness[3])


def test_the_same_set_has_no_distance_and_another_one_does():
    sets = []
    for seed in (0, 0, 1):
        statistics = LayoutStatistics(K)
        for mask in masks(6, seed):
            statistics.update(mask if seed == 0 else np.minimum(mask, 2))
        sets.append(statistics)
    same, other = sets[0].compute(sets[1]), sets[0].compute(sets[2])
    for name in ("histogram_frechet", "adjacency_divergence", "components", "thickness"):
        assert same[name] == pytest.approx(0, abs=1e-9)
        assert other[name] > 0
    expected = np.mean([class_shapes(mask, K)[0].sum() for mask in masks(6, 0)])
    assert same.components_per_image == pytest.approx((expected, expected))
    assert LayoutStatistics(K).compute(sets[0]).histogram_frechet is None


def test_halves_merge():
    whole, half, other = LayoutStatistics(K), LayoutStatistics(K), LayoutStatistics(K)
    for number, mask in enumerate(masks(4, 3)):
        whole.update(mask)
        (half if number < 2 else other).update(mask)
    half.merge(other)
    assert half.compute(whole).histogram_frechet == pytest.approx(0, abs=1e-9)
    assert half.compute(whole).masks == (4, 4)


def test_distances_are_shares_of_differing_pixels():
    first, second = masks(3, 4), masks(2, 5)
    first[0][0] = 255
    sets = []
    for group in (first, second):
        distances = MaskDistances(K, size=(12, 15))
        for mask in group:
            distances.update(mask)
        sets.append(distances)
    expected = [[(a != b)[(a != 255) & (b != 255)].mean() for b in second] for a in first]
    np.testing.assert_allclose(sets[0].compute(sets[1]), expected)


def test_neighbours_are_those_of_loops():
    random, k = np.random.default_rng(6), 2
    real, fake = random.random((7, 3)), random.random((9, 3))

    def distance(a, b):
        return np.linalg.norm(a[:, None] - b[None], axis=2)

    real_radius = [sorted(row)[k] for row in distance(real, real)]
    fake_radius = [sorted(row)[k] for row in distance(fake, fake)]
    cross = distance(real, fake)
    result = neighbour_figures(distance(real, real), cross, distance(fake, fake), k)
    inside = [[cross[i, j] < real_radius[i] for j in range(9)] for i in range(7)]
    assert result.precision == np.mean([any(inside[i][j] for i in range(7)) for j in range(9)])
    assert result.density == pytest.approx(np.sum(inside) / 9 / k)
    assert result.coverage == pytest.approx(np.mean([any(row) for row in inside]))
    assert result.recall == pytest.approx(
        np.mean([any(cross[i, j] < fake_radius[j] for j in range(9)) for i in range(7)])
    )
    assert neighbour_figures(distance(real, real), cross, distance(fake, fake), 7).precision is None


def test_copies_are_not_authentic():
    train = np.random.default_rng(7).random((6, 2))
    between = np.linalg.norm(train[:, None] - train[None], axis=2)
    copies = nearest_figures(between[:3], between)
    assert (copies.authentic, copies.least, copies.index) == (0, 0, (0, 1, 2))
    far = nearest_figures(between[:3] + 10, between)
    assert far.authentic == 1
    assert nearest_figures(np.zeros((0, 6)), between).mean is None


def test_bad_masks_are_refused():
    for metric in (LayoutStatistics(K), MaskDistances(K)):
        with pytest.raises(InputError, match=r"labels 0\.\.3"):
            metric.update(np.full((3, 3), 9))
