"""Random walks: affinities are their definition, walks equal their dense forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gss.weak.refine.walks import (
    absorbing_walk,
    chebyshev_weights,
    edge_affinity,
    edge_map,
    feature_affinity,
    image_links,
    random_walk,
)

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


def test_edges_are_relative_to_the_contrast_of_the_image():
    image = np.zeros((20, 30, 3))
    image[:, 15:] = 200
    edges = edge_map(image)
    assert edges[10, 14] > 0.9 and edges[10, 3] < 1e-3
    np.testing.assert_allclose(edge_map(image / 50), edges, atol=1e-4)
    assert (edge_map(np.full((5, 6, 3), 9)) == 0).all()
    with pytest.raises(ValueError, match="radius is 0.5"):
        edge_affinity(np.zeros((4, 4)), radius=0.5)


def test_far_fewer_products_than_steps():
    assert len(chebyshev_weights(256, 1e-6)) - 1 < 256 / 2.5
    np.testing.assert_allclose(chebyshev_weights(2, 0.0), [0.5, 0, 0.5])  # x^2 = T_0 / 2 + T_2 / 2


def dense_walk(links, targets, strength):
    """Solve the linear system of `absorbing_walk` for the cells from which a label can be reached, in float64."""
    links = links.toarray().astype(np.float64)
    np.fill_diagonal(links, 0)
    reached = np.linalg.matrix_power(links + np.eye(len(links)), len(links))[:, strength > 0].any(1)
    system = (np.diag(strength + links.sum(1)) - links)[np.ix_(reached, reached)]
    wanted = np.tile((strength[:, None] * targets).sum(0) / strength.sum(), (len(links), 1))
    wanted[reached] = np.linalg.solve(system, (strength[:, None] * targets)[reached])
    return wanted


@given(st.integers(0, 1000), st.integers(0, 6))
def test_absorbing_walk_equals_the_dense_solution(seed, isolated):
    rng = np.random.default_rng(seed)
    affinity = edge_affinity(rng.random((6, 8)) * 0.9, radius=2)
    strength = np.where(rng.random(48) < 0.2, rng.random(48) * 5, 0)
    strength[rng.integers(48)] = 1.0
    targets = rng.dirichlet(np.ones(3), 48)
    cells = rng.choice(48, isolated, replace=False)  # some are without any link, with strength or without
    cut = affinity.toarray()
    cut[cells] = cut[:, cells] = 0
    affinity = type(affinity)(cut)
    strength = np.where(np.isin(np.arange(48), cells[1:]), 0, strength)
    if not strength.any():
        strength[next(cell for cell in range(48) if cell not in cells)] = 1.0
    found = absorbing_walk(affinity, targets, strength)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, dense_walk(affinity, targets, strength), atol=1e-5)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


def test_a_part_that_no_label_reaches_gets_the_mean_of_the_labels():
    links = edge_affinity(np.zeros((1, 6)), radius=1).tolil()
    links[2, 3] = links[3, 2] = 0  # two parts of three cells
    targets, strength = np.eye(2)[[0, 0, 1, 0, 0, 0]], np.array([3.0, 0, 1, 0, 0, 0])
    found = absorbing_walk(links.tocsr(), targets, strength)
    np.testing.assert_allclose(found[3:], np.tile([0.75, 0.25], (3, 1)), atol=1e-6)
    assert found[0, 0] > found[1, 0] > found[2, 0] > 0


def test_no_link_of_an_image_is_below_the_floor():
    cells = np.zeros((3, 9, 11))
    cells[:, 4, 5] = 255  # an affinity of exp(-722) to its neighbours, which is 0 in float32
    links = image_links(cells, radius=2, edge=2.0, color=10.0, weakest=1e-4)
    pairs = edge_affinity(np.zeros((9, 11)), radius=2)
    assert links.nnz == pairs.nnz and links.data.min() == np.float32(1e-4)
    product = edge_affinity(edge_map(cells.transpose(1, 2, 0), smooth=0.7), radius=2, power=2.0)
    product = product.toarray() * feature_affinity(cells, radius=2, scale=10.0).toarray()
    np.testing.assert_array_equal(
        links.toarray(), np.where(pairs.toarray() > 0, np.maximum(product, np.float32(1e-4)), 0)
    )
    # The bright cell has no label and is the only one of its colour; what its neighbours are, it is too.
    targets, strength = np.eye(2)[np.repeat([0, 1], [22, 77])], np.ones(99)
    strength[4 * 11 + 5] = 0
    assert absorbing_walk(links, targets, strength)[4 * 11 + 5, 1] > 0.9
