import pytest
import torch

from gss.models.estimation import Moments, estimate, moments, seed_means
from gss.models.gaussians import log_density, quadratic_form


@pytest.mark.parametrize("full", [False, True])
def test_moments_equal_a_loop_and_add_up(full, monkeypatch):
    monkeypatch.setattr("gss.models.estimation._BLOCK", 60)
    x, classes = torch.randn(40, 6), torch.randint(0, 3, (40,))
    weights = torch.rand(40, 2)
    found = moments(x, weights, classes, 3, full=full)
    for c in range(3):
        for m in range(2):
            rows = classes == c
            own, share = x[rows].double(), weights[rows, m].double()
            second = torch.einsum("n,nd,ne->de", share, own, own) if full else (share[:, None] * own.square()).sum(0)
            assert torch.allclose(found.count[c * 2 + m], share.sum())
            assert torch.allclose(found.first[c * 2 + m], (share[:, None] * own).sum(0))
            assert torch.allclose(found.second[c * 2 + m], second)
    halves = [moments(x[s], weights[s], classes[s], 3, full=full) for s in (slice(25), slice(25, None))]
    both = Moments.zeros(6, 6, full=full) + halves[0] + halves[1]
    assert torch.allclose(both.second, found.second)


@pytest.mark.parametrize("covariance", ["diagonal", "spherical", "low_rank"])
def test_estimate_recovers_a_gaussian(covariance):
    factor = torch.randn(5, 2)
    x = torch.tensor([3.0, 0, 0, 1, 1]) + torch.randn(20_000, 2) @ factor.t() + 0.3 * torch.randn(20_000, 5)
    ones, classes = torch.ones(len(x), 1), torch.zeros(len(x), dtype=torch.long)
    statistics = moments(x, ones, classes, 1, full=covariance == "low_rank")
    found = estimate(statistics, covariance=covariance, variance_floor=1e-6, rank=2)
    sample = torch.cov(x.t(), correction=0)
    assert torch.allclose(found.means[0], x.mean(0), atol=1e-4)
    if covariance == "diagonal":
        assert torch.allclose(found.variances[0], sample.diagonal(), atol=1e-3)
    elif covariance == "spherical":
        assert torch.allclose(found.variances[0], sample.diagonal().mean().expand(5), atol=1e-3)
    else:
        whole = torch.diag(found.variances[0]) + found.factors[0] @ found.factors[0].t()
        assert torch.allclose(whole, sample, atol=0.05)
        assert torch.allclose(whole.diagonal(), sample.diagonal(), atol=1e-3)


@pytest.mark.parametrize("covariance", ["diagonal", "low_rank"])
def test_constant_rows_have_the_floor_as_variance(covariance):
    x, classes = torch.full((30, 4), 0.7), torch.zeros(30, dtype=torch.long)
    statistics = moments(x, torch.ones(30, 1), classes, 2, full=covariance == "low_rank")
    found = estimate(statistics, covariance=covariance, variance_floor=0.01, rank=2)
    assert torch.allclose(found.variances, torch.tensor(0.01), atol=1e-6)
    assert log_density(x, quadratic_form(found)).isfinite().all()


def test_seeds_are_distinct_rows():
    x = torch.tensor([[0.0], [0.0], [5.0], [9.0]])
    seeds = seed_means(x, 3, torch.rand(4))
    assert sorted(seeds.flatten().tolist()) == [0.0, 5.0, 9.0]
    assert len(seed_means(x[:2], 3, torch.rand(2))) == 1
    assert len(seed_means(x[:1], 3, torch.rand(1))) == 1
    assert seed_means(x[:0], 3, torch.rand(0)).shape == (0, 1)


def test_seeds_do_not_depend_on_the_order_of_rows():
    x, keys, order = torch.randn(50, 3), torch.rand(50), torch.randperm(50)
    assert torch.equal(seed_means(x, 5, keys), seed_means(x[order], 5, keys[order]))


def test_seeds_are_drawn_with_the_squared_distance():
    # k-means++: after the first seed, a row is taken with probability proportional to its squared distance.
    x = torch.tensor([[0.0], [1.0], [3.0]])
    draws = 1200
    count = torch.zeros(3, 3)
    for keys in torch.rand(draws, 3, dtype=torch.float64):
        first, second = seed_means(x, 2, keys)[:, 0].tolist()
        count[{0.0: 0, 1.0: 1, 3.0: 2}[first], {0.0: 0, 1.0: 1, 3.0: 2}[second]] += 1
    square = (x - x.t()).square()
    expected = square / square.sum(1, keepdim=True) / 3
    assert torch.allclose(count / draws, expected, atol=0.05)
