import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from torch.nn import functional as F

from gss.training.losses.residual import (
    context_contrast,
    dissimilarity_loss,
    draw,
    entropy,
    positive_energy_loss,
    pseudo_label_loss,
    rows_at,
)

B, K, H, W = 2, 5, 6, 9


def maps(scale=3.0):
    mask = torch.rand(B, H, W)
    return scale * torch.randn(B, K, H, W), scale * torch.randn(B, K, H, W), mask < 0.6, mask > 0.8


def log_softmax(z):
    return z - logsumexp(z, axis=1, keepdims=True)


def test_inlier_and_outlier_losses_against_numpy():
    perturbed, plain, inlier, outlier = maps()
    a, v = perturbed.double().numpy(), plain.double().numpy()
    log_p = log_softmax(a)
    expected = -np.take_along_axis(log_p, v.argmax(1)[:, None], 1)[:, 0][inlier.numpy()].mean()
    assert float(pseudo_label_loss(perturbed, plain, inlier)) == pytest.approx(expected, rel=1e-5)
    entropies = [-(np.exp(log_softmax(z)) * log_softmax(z)).sum(1) for z in (a, v)]
    expected = ((entropies[0] - entropies[1]) ** 2)[inlier.numpy()].mean()
    assert float(dissimilarity_loss(perturbed, plain, inlier)) == pytest.approx(expected, rel=1e-5)
    for margin in (0.0, -2.0, 1.5):
        expected = np.maximum(margin + logsumexp(a, axis=1), 0)[outlier.numpy()].mean()
        found = float(positive_energy_loss(perturbed, outlier, margin=margin))
        assert found == pytest.approx(expected, rel=1e-5)


def test_no_change_costs_no_dissimilarity_and_high_energy_nothing():
    perturbed, _, inlier, outlier = maps()
    assert float(dissimilarity_loss(perturbed, perturbed, inlier)) == 0
    low = perturbed - perturbed.logsumexp(1, keepdim=True) - 0.1
    assert float(positive_energy_loss(low, outlier)) == 0
    # Adding a constant to all logits changes the energy alone.
    assert float(pseudo_label_loss(low, perturbed, inlier)) == pytest.approx(
        float(pseudo_label_loss(perturbed, perturbed, inlier)), rel=1e-5
    )


@pytest.mark.parametrize("value", [1e4, -1e4])
def test_huge_logits_stay_finite(value):
    perturbed, plain, inlier, outlier = maps()
    perturbed = (perturbed + value).requires_grad_()
    with torch.no_grad():
        perturbed[:, 0] += value  # a saturated softmax: its entropy is 0
    total = pseudo_label_loss(perturbed, plain, inlier) + dissimilarity_loss(perturbed, plain, inlier)
    total = total + positive_energy_loss(perturbed, outlier)
    total.backward()
    assert total.isfinite() and perturbed.grad.isfinite().all()
    assert entropy(perturbed).isfinite().all()


def test_empty_masks_cost_nothing():
    perturbed, plain, *_ = maps()
    perturbed.requires_grad_()
    none = torch.zeros(B, H, W, dtype=torch.bool)
    total = pseudo_label_loss(perturbed, plain, none) + dissimilarity_loss(perturbed, plain, none)
    total = total + positive_energy_loss(perturbed, none)
    total.backward()
    assert float(total.detach()) == 0 and not perturbed.grad.any()


@given(st.integers(1, 60), st.integers(0, 60), st.integers(1, 60), st.integers(0, 1000))
def test_draw_takes_distinct_positions_of_the_mask(size, inside, count, seed):
    inside, count = min(inside, size), min(count, size)
    generator = torch.Generator().manual_seed(seed)
    mask = torch.zeros(size, dtype=torch.bool)
    mask[torch.randperm(size, generator=generator)[:inside]] = True
    index, valid = draw(mask, count, generator)
    assert len(index) == count and int(valid) == min(inside, count)
    chosen = index[: int(valid)]
    assert mask[chosen].all() and len(chosen.unique()) == len(chosen)


def test_draw_is_even():
    mask = torch.zeros(10, dtype=torch.bool)
    mask[3:9] = True
    seen = torch.stack([draw(mask, 2)[0] for _ in range(1500)]).flatten().bincount(minlength=10)
    assert seen[:3].sum() + seen[9] == 0
    assert (seen[3:9] - 500).abs().max() < 90  # more than four standard deviations


@given(st.integers(1, 5), st.integers(1, 7), st.integers(0, 100))
def test_rows_are_those_of_the_enlarged_map(h, w, seed):
    torch.manual_seed(seed)
    grid, cells = (4 * h, 3 * w), (4 * h - 1, max(3 * w - 2, 1))
    x = torch.randn(2, 3, h, w, requires_grad=True)
    whole = F.interpolate(x, size=grid, mode="bilinear")[..., : cells[0], : cells[1]]
    index = torch.randint(0, 2 * cells[0] * cells[1], (20,))
    expected = whole.movedim(1, -1).flatten(0, 2)[index]
    found = rows_at(x, index, grid, cells)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    direction = torch.randn(20, 3)
    gradients = [torch.autograd.grad((rows * direction).sum(), x, retain_graph=True)[0] for rows in (found, expected)]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)


def contrast_by_loops(x, count, temperature):
    """The formula, pair by pair, in float64."""
    x = x.double().numpy()[:, :count]
    rows = [(x[kind, i], kind % 2 == 0, (kind, i)) for kind in range(4) for i in range(count)]
    losses = []
    for anchor, outlier, place in (row for row in rows if row[2][0] < 2):
        negatives = [anchor @ other / temperature for other, kind, _ in rows if kind != outlier]
        positives = [anchor @ other / temperature for other, kind, at in rows if kind == outlier and at != place]
        losses.append(np.mean([logsumexp([s, *negatives]) - s for s in positives]))
    return np.mean(losses)


@pytest.mark.parametrize(("samples", "count"), [(1, 1), (6, 6), (6, 4), (9, 1)])
@pytest.mark.parametrize("temperature", [0.1, 0.01])
def test_contrast_against_loops(samples, count, temperature):
    x = F.normalize(torch.randn(4, samples, 7), dim=2)
    found = float(context_contrast(x, torch.tensor(count), temperature=temperature))
    assert found == pytest.approx(contrast_by_loops(x, count, temperature), rel=1e-4)


def test_contrast_of_nothing_is_nothing():
    x = F.normalize(torch.randn(4, 5, 7), dim=2).requires_grad_()
    loss = context_contrast(x, torch.tensor(0))
    loss.backward()
    assert float(loss.detach()) == 0 and not x.grad.any()


@given(st.integers(0, 1000))
def test_contrast_does_not_depend_on_the_order_of_samples(seed):
    generator = torch.Generator().manual_seed(seed)
    x = F.normalize(torch.randn(4, 6, 5, generator=generator), dim=2)
    shuffled = torch.stack([part[torch.randperm(6, generator=generator)] for part in x])
    first, second = (float(context_contrast(y, torch.tensor(6))) for y in (x, shuffled))
    assert first == pytest.approx(second, rel=1e-5)
    assert first >= 0


def test_contrast_is_least_where_kinds_are_apart():
    kinds = F.one_hot(torch.tensor([0, 1, 0, 1]), 4).float()[:, None].repeat(1, 3, 1)
    mixed = F.one_hot(torch.tensor([0, 1, 1, 0]), 4).float()[:, None].repeat(1, 3, 1)
    count = torch.tensor(3)
    assert float(context_contrast(kinds, count)) < 0.01 < 5 < float(context_contrast(mixed, count))
