import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gss.mixture import (
    BLOCK_NUMBERS,
    Gaussians,
    Moments,
    balanced_sample,
    estimate,
    log_density,
    moments,
    own_class,
    quadratic_form,
    reduced_log_density,
    seed_means,
    sinkhorn,
)


def unit(*shape):
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)


def reference(x, gaussians):
    covariance = torch.diag_embed(gaussians.variances.double())
    if gaussians.factors is not None:
        covariance = covariance + gaussians.factors.double() @ gaussians.factors.double().transpose(1, 2)
    normal = torch.distributions.MultivariateNormal(gaussians.means.double(), covariance)
    return normal.log_prob(x.double()[:, None])


@pytest.mark.parametrize("rank", [0, 3])
def test_log_density_equals_float64(rank):
    groups, dim = 95, 64
    gaussians = Gaussians(
        unit(groups, dim),
        0.01 + torch.rand(groups, dim) / 64,
        0.1 * torch.randn(groups, dim, rank) if rank else None,
    )
    x = unit(500, dim)
    found = log_density(x, quadratic_form(gaussians))
    assert (found.double() - reference(x, gaussians)).abs().max() < 1e-4


def test_features_far_from_the_origin_keep_their_precision():
    gaussians = Gaussians(50 + torch.randn(4, 16), 0.5 + torch.rand(4, 16))
    x = 50 + torch.randn(200, 16)
    assert (log_density(x, quadratic_form(gaussians)) - reference(x, gaussians)).abs().max() < 1e-3


def test_lower_precision_settings_do_not_reach_the_density():
    gaussians, x = Gaussians(unit(20, 32), torch.full((20, 32), 0.01)), unit(50, 32)
    expected = log_density(x, quadratic_form(gaussians))
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(log_density(x, quadratic_form(gaussians)), expected)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_blocks_change_nothing(monkeypatch):
    form = quadratic_form(Gaussians(unit(10, 8), torch.full((10, 8), 0.1)))
    x = unit(1000, 8)
    whole = log_density(x, form).amax(1)
    monkeypatch.setattr("gss.mixture.BLOCK_NUMBERS", 70)
    assert BLOCK_NUMBERS > 70
    assert torch.allclose(reduced_log_density(x, form, lambda d: d.amax(1)), whole, atol=1e-5)
    assert reduced_log_density(x[:0], form, lambda d: d.amax(1)).shape == (0,)


def looped(scores, classes, num_classes, *, epsilon, relative, iterations=3):
    """Sinkhorn-Knopp class by class in float64, as GMMSeg has it."""
    out = torch.zeros_like(scores)
    for c in range(num_classes):
        rows = classes == c
        if not rows.any():
            continue
        q = scores[rows]
        if relative:
            q = q / q.abs().max()
        q = (q / epsilon - (q / epsilon).max()).exp()  # one constant of the class, against underflow
        q = q / q.sum()
        n, components = q.shape
        for _ in range(iterations):
            q = q / q.sum(0, keepdim=True) / components
            q = q / q.sum(1, keepdim=True) / n
        out[rows] = q * n
    return out


@pytest.mark.parametrize("relative", [False, True])
def test_sinkhorn_equals_a_loop(relative):
    classes = torch.randint(0, 7, (3000,))
    classes[classes == 3] = 2  # one class does not occur
    scores = -59 + 6 * torch.randn(3000, 5)
    epsilon = 0.05 if relative else 3.0
    expected = looped(scores.double(), classes, 7, epsilon=epsilon, relative=relative)
    found = sinkhorn(scores, classes, 7, temperature=epsilon, relative=relative)
    assert torch.equal(found.argmax(1), expected.argmax(1))
    assert torch.allclose(found.exp().double(), expected, atol=1e-4)


def test_sinkhorn_shares_pixels_evenly_and_survives_outliers():
    scores = torch.randn(400, 4) + torch.tensor([0.0, 0.0, 0.0, 8.0])
    scores[0] = -1e4  # a plain exp() would make this row 0 / 0
    classes = torch.zeros(400, dtype=torch.long)
    share = sinkhorn(scores, classes, 1, iterations=100).exp()
    assert torch.allclose(share.sum(0), torch.full((4,), 100.0), rtol=0.01)
    assert torch.allclose(share.sum(1), torch.ones(400))


def test_sinkhorn_leaves_unused_components_alone():
    scores = torch.randn(50, 3)
    scores[:, 1] = -math.inf
    share = sinkhorn(scores, torch.zeros(50, dtype=torch.long), 2).exp()
    assert (share[:, 1] == 0).all() and torch.allclose(share.sum(1), torch.ones(50))
    assert sinkhorn(scores[:0], torch.zeros(0, dtype=torch.long), 2).shape == (0, 3)


def test_sinkhorn_over_processes_equals_one():
    # Two processes in lockstep: every reduction sees the parts of both.
    import threading

    scores, classes = torch.randn(101, 3), torch.randint(0, 2, (101,))
    barrier, parts, results = threading.Barrier(2), {}, {}

    def work(rank, rows):
        def reduce(op):
            def run(value):
                parts[rank] = value
                barrier.wait()
                total = op(parts[0], parts[1])
                barrier.wait()
                return total

            return run

        results[rank] = sinkhorn(
            scores[rows], classes[rows], 2, sum_across=reduce(torch.add), max_across=reduce(torch.maximum)
        )

    halves = [slice(0, 40), slice(40, None)]
    threads = [threading.Thread(target=work, args=(i, rows)) for i, rows in enumerate(halves)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.allclose(torch.cat([results[0], results[1]]), sinkhorn(scores, classes, 2), atol=1e-5)


@pytest.mark.parametrize("full", [False, True])
def test_moments_equal_a_loop_and_add_up(full, monkeypatch):
    monkeypatch.setattr("gss.mixture.BLOCK_NUMBERS", 60)
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
    seeds = seed_means(x, 3)
    assert sorted(seeds.flatten().tolist()) == [0.0, 5.0, 9.0]
    assert len(seed_means(x[:2], 3)) == 1
    generator = torch.Generator().manual_seed(1)
    again = torch.Generator().manual_seed(1)
    x = torch.randn(50, 3)
    assert torch.equal(seed_means(x, 5, generator=generator), seed_means(x, 5, generator=again))


@given(st.lists(st.integers(0, 5), max_size=60), st.integers(1, 9))
def test_balanced_sample_takes_what_there_is(values, per_class):
    classes = torch.tensor(values, dtype=torch.long)
    classes[classes == 5] = 255
    chosen = balanced_sample(classes, per_class, 5)
    assert len(chosen.unique()) == len(chosen)
    counts = torch.bincount(classes[classes < 5], minlength=5)
    assert torch.equal(torch.bincount(classes[chosen], minlength=5), counts.clamp(max=per_class))


def test_own_class():
    density = torch.arange(24.0).view(2, 4, 3)
    assert own_class(density, torch.tensor([1, 3])).tolist() == [[3, 4, 5], [21, 22, 23]]
