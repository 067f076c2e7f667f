"""Walks along colours on a grid: against a dense solution, and what they must keep."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from gss.config.weak_labels import SpreadConfig
from gss.weak.agmm.evidence import gather_evidence
from gss.weak.agmm.spread import absorb, color_links, finer_grids, spread

K, h, w = 4, 6, 9
NEIGHBOURS = [(0, 1), (1, -1), (1, 0), (1, 1)]


def random_case(seed=0, batch=2):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(batch, 3, 2 * h, 3 * w, generator=generator)
    targets = torch.rand(batch, K, h, w, generator=generator).softmax(1)
    certainty = torch.rand(batch, h, w, generator=generator)
    return images, targets, certainty


def plain_links(cells, valid, contrast):
    """Links of one image as a dense symmetric matrix; cells [3, h, w] and valid [h, w] in NumPy."""
    pairs, squared = [], []
    for y, x in np.ndindex(h, w):
        for dy, dx in NEIGHBOURS:
            if y + dy < h and 0 <= x + dx < w and valid[y, x] > 0 and valid[y + dy, x + dx] > 0:
                pairs.append((y * w + x, (y + dy) * w + x + dx))
                squared.append(((cells[:, y, x] - cells[:, y + dy, x + dx]) ** 2).sum())
    dense = np.zeros((h * w, h * w))
    for (i, j), d in zip(pairs, squared, strict=True):
        dense[i, j] = dense[j, i] = max(np.exp(-d / (2 * contrast * np.mean(squared))), 1e-4)
    return dense


@pytest.mark.parametrize("contrast", [0.02, 0.5])
def test_absorb_solves_the_walk(contrast):
    images, targets, certainty = random_case()
    certainty[0, 2, 3], certainty[0, 4, 4] = 1.0, 0.0
    valid = torch.ones(2, h, w)
    valid[1, 4:] = 0
    links = color_links(images, valid, contrast=contrast)
    found = absorb(targets, certainty, links, hold=0.3, steps=3000)
    cells = F.adaptive_avg_pool2d(images, (h, w)).double().numpy()
    for b in range(2):
        dense = plain_links(cells[b], valid[b].numpy(), contrast)
        c = certainty[b].double().numpy().ravel()
        odds = 0.3 * c / (1 - c + 1e-3)
        inside = valid[b].numpy().ravel() > 0
        system = np.diag(odds + dense.sum(1)) - dense
        wanted = odds[:, None] * targets[b].double().flatten(1).numpy().T
        exact = np.linalg.solve(system[np.ix_(inside, inside)], wanted[inside])
        np.testing.assert_allclose(found[b].flatten(1).numpy().T[inside], exact, atol=2e-4)
    torch.testing.assert_close(found.sum(1), torch.ones(2, h, w), rtol=1e-4, atol=1e-4)


@given(st.integers(0, 30), st.integers(0, 30), st.floats(0.01, 2), st.floats(0.01, 2))
def test_distributions_stay_distributions(seed, steps, contrast, hold):
    images, targets, certainty = random_case(seed)
    images[0] = 0.5  # without any contrast
    valid = (torch.rand(2, h, w, generator=torch.Generator().manual_seed(seed)) > 0.3).float()
    found = absorb(targets, certainty, color_links(images, valid, contrast=contrast), hold=hold, steps=steps)
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(1), torch.ones(2, h, w), rtol=1e-3, atol=1e-3)


def test_links_do_not_depend_on_scale_and_brightness():
    images, _, _ = random_case()
    valid = torch.ones(2, h, w)
    first = color_links(images, valid, contrast=0.1)
    torch.testing.assert_close(color_links(255 * images + 7, valid, contrast=0.1), first, rtol=1e-3, atol=1e-5)
    assert first.shape == (2, 4, h, w) and (first[:, 0, :, -1] == 0).all() and (first[:, 2, -1] == 0).all()


@pytest.mark.parametrize("steps", [[60], [60, 30], [60, 30, 15]])
def test_one_label_each_fills_two_regions(steps):
    image = torch.zeros(1, 3, 48, 72)
    image[:, :, :, 40:] = 1.0
    labels = torch.full((1, 48, 72), 255)
    labels[0, 8, 10], labels[0, 40, 60] = 2, 0
    levels = [gather_evidence(labels, K, (12 << n, 18 << n)) for n in range(len(steps))]
    belief = torch.full((1, K, 12, 18), 1 / K)
    found = spread(belief, levels, image, SpreadConfig(steps=steps, belief=0.0))
    assert found.shape[2:] == (12 << len(steps) - 1, 18 << len(steps) - 1)
    best = F.interpolate(found, size=(48, 72))[0].argmax(0)
    assert (best[:, :39] == 2).all() and (best[:, 41:] == 0).all()


def test_a_sure_network_is_heard_and_labels_overrule_it():
    images, targets, _ = random_case(batch=1)
    labels = torch.full((1, 2 * h, 3 * w), 255)
    labels[0, :2, :3] = 3
    sure = torch.zeros(1, K, h, w)
    sure[:, 1] = 1.0
    found = spread(sure, [gather_evidence(labels, K, (h, w))], images, SpreadConfig(steps=[20], belief=1.0))
    assert found[0, :, 0, 0].argmax() == 3 and found[0, 3, 0, 0] > 0.95
    assert (found[0, 1, 2:] > 0.9).all()
    # No steps: labels in their cells, the network elsewhere.
    still = spread(targets, [gather_evidence(labels, K, (h, w))], images, SpreadConfig(steps=[0]))
    torch.testing.assert_close(still[:, :, 2:], targets[:, :, 2:])
    assert still[0, :, 0, 0].argmax() == 3


def test_decided_cells_keep_their_label_to_the_end():
    images, targets, _ = random_case(batch=1)
    labels = torch.full((1, 2 * h, 3 * w), 255)
    labels[0, 4, 4], labels[0, 9, 20] = 3, 1
    levels = [gather_evidence(labels, K, grid) for grid in ((h, w), (2 * h, 3 * w))]
    found = spread(targets, levels, images, SpreadConfig(steps=[20, 20], hold=1e-3))
    assert found[0, 3, 4, 4] == 1 and found[0, 1, 9, 20] == 1


def test_padding_has_no_color():
    """Cells that are half padding link as their visible half does."""
    images, _, _ = random_case(batch=1)
    images[..., : 3 * (w // 2)] = 0.8
    valid = torch.ones(1, 2 * h, 3 * w)
    valid[:, -1] = 0
    share = F.adaptive_avg_pool2d(valid[:, None], (h, w))[:, 0]
    assert share[0, -1, 0] == 0.5
    links = color_links(images * valid[:, None], share, contrast=0.1)
    visible = images.clone()
    visible[:, :, -1] = visible[:, :, -2]
    torch.testing.assert_close(links, color_links(visible, torch.ones(1, h, w), contrast=0.1))


def test_a_fine_belief_is_averaged_over_cells():
    images, _, _ = random_case(batch=1)
    belief = torch.rand(1, K, 4 * h, 4 * w).softmax(1)
    empty = gather_evidence(torch.full((1, 2 * h, 3 * w), 255), K, (h, w))
    found = spread(belief, [empty], images, SpreadConfig(steps=[0]))
    torch.testing.assert_close(found, F.adaptive_avg_pool2d(belief, (h, w)))


def test_cells_are_never_smaller_than_pixels():
    assert finer_grids((6, 9), 4, (20, 70)) == [(6, 9), (12, 18), (20, 36), (20, 70)]
    assert finer_grids((6, 9), 0, (20, 70)) == []
    assert finer_grids((6, 9), 2, (4, 9)) == [(6, 9), (6, 9)]
