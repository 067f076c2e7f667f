"""Centres of features: k-means against NumPy, seeds, empty clusters, and following features that move."""

import numpy as np
import pytest
import torch
from lockstep import Lockstep

from gss.weak.tags import clusters
from gss.weak.tags.clusters import ClassCentres, OoDClusters


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def blobs(count=4, each=30, dim=5, offset=0.0, seed=0):
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(count, dim)) * 20 + offset
    points = middles[:, None] + rng.normal(size=(count, each, dim))
    return torch.from_numpy(points.reshape(-1, dim)[rng.permutation(count * each)]).float(), middles


def numpy_lloyd(x, centres, iterations):
    """Plain Lloyd in float64; the mean squared distance before each iteration and at the end."""
    inertia = []
    for step in range(iterations + 1):
        distance = ((x[:, None] - centres[None]) ** 2).sum(2)
        inertia.append(distance.min(1).mean())
        if step < iterations:
            own = distance.argmin(1)
            centres = np.stack([x[own == m].mean(0) for m in range(len(centres))])
    return centres, np.array(inertia)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_well_separated_blobs_are_found(offset):
    features, middles = blobs(offset=offset)
    found = OoDClusters(4, 5)
    inertia = found.fit(features, generator(1))
    apart = np.linalg.norm(found.centres.numpy()[:, None] - middles[None], axis=2)
    assert sorted(apart.argmin(0)) == [0, 1, 2, 3] and apart.min(0).max() < 1.5
    assert found.counts.tolist() == [30] * 4
    assert inertia[-1] == pytest.approx(5, rel=0.2)


def test_lloyd_equals_numpy_and_inertia_never_rises(monkeypatch):
    features = torch.randn(150, 3, generator=generator(5)) * torch.tensor([3.0, 1.0, 0.5])
    # Chunks of a few rows each.
    monkeypatch.setattr(clusters, "_BLOCK", 40)
    origin = features.mean(0)
    keys = torch.rand(150, generator=generator(2), dtype=torch.float64)
    seeds = clusters.seed_means(features - origin, 6, keys) + origin
    expected, reference = numpy_lloyd(features.double().numpy(), seeds.double().numpy(), 7)
    found = OoDClusters(6, 3)
    inertia = found.fit(features, generator(2), iterations=7).numpy()
    np.testing.assert_allclose(found.centres, expected, atol=1e-4)
    np.testing.assert_allclose(inertia, reference, rtol=1e-4)
    assert (np.diff(inertia) <= 1e-5).all() and inertia[-1] < 0.8 * inertia[0]
    assert found.counts.sum() == 150
    again = OoDClusters(6, 3)
    again.fit(features, generator(2), iterations=7)
    assert torch.equal(found.centres, again.centres)
    again.fit(features, generator(3), iterations=1)
    assert not torch.allclose(found.centres, again.centres)


def test_an_empty_cluster_moves_to_the_worst_served_point(monkeypatch):
    features = torch.tensor([[0.0, 0.0], [0.0, 0.1], [1.0, 0.0], [1.0, 0.1], [5.0, 0.0], [4.9, 0.0]])
    # Bad seeds: the third is nearest to nothing.
    bad = torch.tensor([[0.0, 0.0], [1.0, 0.0], [99.0, 99.0]]) - features.mean(0)
    monkeypatch.setattr(clusters, "seed_means", lambda *_, **__: bad.clone())
    found = OoDClusters(3, 2)
    inertia = found.fit(features, generator(), iterations=3)
    assert sorted(found.counts.tolist()) == [2, 2, 2]
    assert (inertia.diff() <= 0).all() and inertia[-1] == pytest.approx(0.0025, abs=1e-5)
    assert found.centres[2].tolist() == pytest.approx([4.95, 0], abs=1e-6)


def test_two_empty_clusters_take_different_places(monkeypatch):
    features = torch.tensor([[0.0], [1.0], [10.0], [10.0], [20.0]])
    bad = torch.tensor([[8.0], [77.0], [88.0]]) - features.mean(0)
    monkeypatch.setattr(clusters, "seed_means", lambda *_, **__: bad.clone())
    found = OoDClusters(3, 1)
    found.fit(features, generator(), iterations=1)
    # The mean of all, then what is farthest from it, then what is farthest from both.
    assert found.centres[:, 0].tolist() == pytest.approx([8.2, 20, 0], abs=1e-5)
    assert found.counts.tolist() == [5, 1, 1]


def test_bad_features_are_refused():
    found = OoDClusters(4, 2)
    with pytest.raises(ValueError, match="num_clusters is 4, but the features of the 5 images hold only 2 different"):
        found.fit(torch.tensor([[0.0, 1.0]] * 4 + [[3.0, 1.0]]), generator())
    with pytest.raises(ValueError, match="the 0 images"):
        found.fit(torch.zeros(0, 2), generator())
    with pytest.raises(ValueError, match=r"features is \[5, 3\]; it must be \[images, 2\]"):
        found.fit(torch.zeros(5, 3), generator())
    with pytest.raises(ValueError, match="not finite"):
        found.fit(torch.tensor([[0.0, torch.nan]] * 5), generator())
    with pytest.raises(ValueError, match="iterations is 0"):
        found.fit(torch.zeros(5, 2), generator(), iterations=0)
    with pytest.raises(ValueError, match="call fit"):
        found.update(torch.zeros(5, 2), 0.9)
    with pytest.raises(ValueError, match="momentum is 1.5"):
        found.update(torch.zeros(5, 2), 1.5)
    with pytest.raises(ValueError, match="at least 1"):
        OoDClusters(0, 3)
    with pytest.raises(ValueError, match=r"tags is \[5, 2\]; it must be \[5, 3\]"):
        ClassCentres(3, 2).fit(torch.zeros(5, 2), torch.zeros(5, 2))


def test_update_is_the_weighted_mean_of_old_and_new():
    found = OoDClusters(2, 1)
    found.fit(torch.tensor([[0.0], [2.0], [10.0]]), generator())
    low = int(found.centres[:, 0].argmin())
    found.update(torch.tensor([[1.5], [2.5], [3.0]]), 0.5)
    assert found.centres[low].item() == pytest.approx((0.5 * 2 * 1 + 7) / (0.5 * 2 + 3))
    assert found.counts[low].item() == 4
    assert found.centres[1 - low].item() == 10 and found.counts[1 - low].item() == 0.5


def test_centres_follow_features_that_move():
    features, _ = blobs(count=3, dim=4)
    found = OoDClusters(3, 4)
    found.fit(features, generator())
    shift = torch.tensor([3.0, -3.0, 3.0, 0.0])
    start = found.centres.clone()
    for step in range(1, 61):
        rows = torch.randperm(90, generator=generator(step))[:24]
        found.update(features[rows] + shift * min(1, step / 30), 0.8)
    assert (found.centres - start - shift).abs().max() < 1


def test_a_forgotten_cluster_starts_anew_where_images_are():
    found = OoDClusters(2, 1)
    found.fit(torch.tensor([[0.0], [100.0]]), generator())
    for _ in range(100):
        found.update(torch.tensor([[0.0], [0.2], [5.0], [5.2]]), 0.9)
    assert sorted(found.centres[:, 0].tolist()) == pytest.approx([0.1, 5.1], abs=0.02)


def test_class_centres_are_means_over_tags():
    rng = np.random.default_rng(0)
    features, tags = rng.normal(size=(20, 6)), rng.random((20, 4)) < 0.4
    tags[:, 2] = False
    found = ClassCentres(4, 6)
    found.fit(torch.from_numpy(features), torch.from_numpy(tags))
    assert found.seen.tolist() == [True, True, False, True]
    for k in (0, 1, 3):
        np.testing.assert_allclose(found.centres[k], features[tags[:, k]].mean(0), rtol=1e-5, atol=1e-6)
    assert found.centres[2].eq(0).all()
    before = found.centres.clone()
    one = torch.zeros(1, 4)
    one[0, 2] = 1
    for _ in range(200):
        found.update(torch.ones(1, 6), one, 0.5)
    assert found.seen.all() and found.centres[2].eq(1).all()
    # Classes without news stay where they are, however long.
    assert torch.equal(found.centres[[0, 1, 3]], before[[0, 1, 3]])


def test_buffers_come_back_with_the_state():
    found, again = OoDClusters(2, 3), OoDClusters(2, 3)
    found.fit(torch.randn(9, 3, generator=generator()), generator())
    again.load_state_dict(found.state_dict())
    assert torch.equal(found.centres, again.centres) and torch.equal(found.counts, again.counts)


def test_two_processes_find_what_one_finds(monkeypatch):
    features, _ = blobs(each=11)
    tags = torch.rand(44, 3, generator=generator(7)) < 0.5
    batch = torch.randn(10, 5, generator=generator(8))

    def work(parts):
        found, classes = OoDClusters(4, 5), ClassCentres(3, 5)
        inertia = found.fit(features[parts], generator(4), iterations=3)
        found.update(batch[parts], 0.7)
        classes.fit(features[parts], tags[parts])
        classes.update(features[:10][parts], tags[:10][parts], 0.5)
        return found.centres, found.counts, inertia, classes.centres, classes.counts

    alone = work(slice(None))
    lockstep = Lockstep()
    monkeypatch.setattr(clusters, "distributed", lockstep)
    monkeypatch.setattr("gss.core.sampling.distributed", lockstep)
    first, second = lockstep.run(lambda rank: work(slice(rank, None, 2)))
    for one, a, b in zip(alone, first, second, strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(one, a, rtol=1e-4, atol=1e-4)
