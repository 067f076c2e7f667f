"""Losses on out-of-distribution images against loops in float64; hardening on a real small net."""

import numpy as np
import pytest
import torch
from torch import nn

from gss.weak.tags.losses import absent_loss, distance_loss, harden

B, K, M, D = 6, 4, 9, 5


def parts(seed=0):
    rng = np.random.default_rng(seed)
    features, inside, outside = rng.normal(size=(B, D)), rng.normal(size=(K, D)), rng.normal(size=(M, D))
    tags = rng.random((B, K)) < 0.4
    tags[0], tags[1] = [True, True, False, True], False
    return features, tags, inside, np.array([True, True, False, True]), outside


def tensors(values):
    return [torch.from_numpy(np.asarray(value)) for value in values]


def reference(features, tags, inside, seen, outside, share, pull):
    rows = [b for b in range(len(features)) if tags[b].any()]
    away = np.array([[np.linalg.norm(features[b] - outside[m]) for m in range(len(outside))] for b in rows])
    flat = np.sort(away.ravel())
    limit = next(v for i, v in enumerate(flat) if (i + 1) / len(flat) >= share - 1e-12)
    total = 0.0
    for row, b in enumerate(rows):
        for k in range(tags.shape[1]):
            if tags[b, k] and seen[k]:
                total += pull * np.linalg.norm(features[b] - inside[k])
        total -= sum(d for d in away[row] if d <= limit) / len(outside)
    return total / len(rows)


@pytest.mark.parametrize(("share", "pull"), [(0.2, 0.02), (0.5, 1.0), (1.0, 0.0), (0.001, 0.3)])
def test_distance_loss_is_its_definition(share, pull):
    given = parts()
    found = distance_loss(*tensors(given), share=share, pull=pull)
    assert found.item() == pytest.approx(reference(*given, share, pull), rel=1e-5)


def test_with_50_clusters_it_is_the_published_formula():
    rng = np.random.default_rng(1)
    clusters, classes, batch = 50, 20, 16
    features, inside, outside = (rng.normal(size=(n, 8)) for n in (batch, classes, clusters))
    tags = np.eye(classes, dtype=bool)[rng.integers(0, classes, batch)]
    own = np.linalg.norm(features[:, None] - inside, axis=2) * tags
    away = np.linalg.norm(features[:, None] - outside, axis=2)
    limit = np.sort(away.ravel())[160]  # the smallest of the largest 80 %
    published = own.mean() * (classes / clusters) - (away * (away < limit)).mean()
    found = distance_loss(*tensors((features, tags, inside, np.ones(classes, bool), outside)))
    assert found.item() == pytest.approx(published, rel=1e-5)


def test_repeated_batches_and_other_orders_have_the_same_loss():
    features, tags, inside, seen, outside = tensors(parts(2))
    once = distance_loss(features, tags, inside, seen, outside, share=0.3)
    for order in (torch.arange(B).repeat(3), torch.arange(B).flip(0)):
        again = distance_loss(features[order], tags[order], inside, seen, outside, share=0.3)
        torch.testing.assert_close(once, again)
    more = outside.repeat(2, 1)
    torch.testing.assert_close(once, distance_loss(features, tags, inside, seen, more, share=0.3))


def test_gradients_point_home_and_away_and_are_finite_at_distance_zero():
    outside = torch.tensor([[0.0, 3.0], [50.0, 50.0]])
    features = torch.tensor([[2.0, 3.0], [0.0, 0.0]], requires_grad=True)
    tags = torch.tensor([[True], [False]])
    distance_loss(features, tags, torch.tensor([[2.0, 5.0]]), torch.tensor([True]), outside, share=0.5).backward()
    # Downhill: 0.02 towards (2, 5), half a unit vector away from the nearer of two clusters.
    np.testing.assert_allclose(-features.grad.numpy(), [[0.5, 0.02], [0, 0]], atol=1e-6)
    features = outside[:1].clone().requires_grad_()
    loss = distance_loss(features, tags[:1], outside[:1], torch.tensor([True]), outside[:1], share=1.0)
    loss.backward()
    assert loss.item() == 0 and torch.equal(features.grad, torch.zeros(1, 2))


def test_nothing_to_say_is_zero_with_zero_gradient():
    features, tags, inside, seen, outside = tensors(parts())
    features = features.requires_grad_()
    distance_loss(features, torch.zeros_like(tags), inside, seen, outside).backward()
    assert features.grad.eq(0).all()
    only_unseen = torch.zeros_like(tags)
    only_unseen[:, 2] = True
    with_pull, without = (distance_loss(features, only_unseen, inside, seen, outside, pull=p) for p in (9.0, 0.0))
    assert with_pull == without < 0


def test_distance_loss_refuses_what_does_not_fit():
    features, tags, inside, seen, outside = tensors(parts())
    with pytest.raises(ValueError, match="share is 0"):
        distance_loss(features, tags, inside, seen, outside, share=0)
    with pytest.raises(ValueError, match="pull is -1"):
        distance_loss(features, tags, inside, seen, outside, pull=-1)
    with pytest.raises(ValueError, match="at least one cluster"):
        distance_loss(features, tags, inside, seen, outside[:0])
    with pytest.raises(ValueError, match="fit centres to the features of this classifier"):
        distance_loss(features[:, :3], tags, inside, seen, outside)
    with pytest.raises(ValueError, match="6 images and 4 classes"):
        distance_loss(features, tags[:, :2], inside, seen, outside)


@pytest.fixture
def net():
    torch.manual_seed(3)
    layers = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3, 2, 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def test_harden_raises_the_largest_logit_and_leaves_the_net_alone(net):
    images = torch.rand(5, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    images[0, :, :4] = 0
    images[1, :, :4] = 1
    before = images.clone()
    with torch.no_grad():
        harder = harden(images, net, step=0.02)
        assert (net(harder).amax(1) > net(images).amax(1)).all()
    assert torch.equal(images, before) and not harder.requires_grad
    assert harder.min() >= 0 and harder.max() <= 1 and (harder - images).abs().max() <= 0.02 + 1e-6
    # The largest step is taken in full where the range allows it.
    assert (harder - images).abs().amax((1, 2, 3)).min() > 0.01
    assert all(parameter.grad is None for parameter in net.parameters())
    # One image at a time gives the same.
    alone = torch.cat([harden(image[None], net, step=0.02) for image in images])
    torch.testing.assert_close(alone, harder, atol=1e-5, rtol=0)


def test_harden_at_the_edges(net):
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    images = torch.full((1, 3, 8, 8), 0.5)
    assert torch.equal(harden(images, lambda x: 0 * net(x), step=0.1), images)
    assert torch.equal(harden(images, net, step=0), images)
    assert harden(images[:0], net, step=0.1).shape == (0, 3, 8, 8)
    with pytest.raises(ValueError, match="step is -0.1"):
        harden(images, net, step=-0.1)
    with pytest.raises(ValueError, match="before normalisation"):
        harden(images * 4, net, step=0.1)


def test_absent_loss_is_the_mean_of_binary_cross_entropies():
    rng = np.random.default_rng(0)
    logits, weights = rng.normal(size=(3, 4)) * 5, np.array([1.0, 0.0, 0.25])
    each = np.array([np.mean([-np.log(1 - 1 / (1 + np.exp(-v))) for v in row]) for row in logits])
    assert absent_loss(torch.from_numpy(logits)).item() == pytest.approx(each.mean(), rel=1e-5)
    found = absent_loss(torch.from_numpy(logits), torch.from_numpy(weights)).item()
    assert found == pytest.approx((each * weights).sum() / weights.sum(), rel=1e-5)
    none = torch.zeros(0, 4, requires_grad=True)
    absent_loss(none).backward()
    assert absent_loss(none) == 0 and absent_loss(torch.ones(2, 4), torch.zeros(2)) == 0
    assert absent_loss(torch.full((1, 2), 500.0)) == 500
    with pytest.raises(ValueError, match="logits is"):
        absent_loss(torch.zeros(3, 4), torch.ones(4))
