import math

import numpy as np
import pytest
import torch
from lockstep import Lockstep
from torch.nn import functional as F

from gss.config.density import MixtureConfig
from gss.core.errors import InputError
from gss.core.sampling import random_keys
from gss.models.density import GMMDensityHead
from gss.models.gaussians import Gaussians
from gss.training.density.em import MixtureEM
from gss.training.density.memory import PixelMemory
from gss.training.density.posthoc import run_em

PLAIN = {"layer_norm": False, "l2_norm": False}


def fitted_head(**options):
    head = GMMDensityHead(**{"num_classes": 3, "num_components": 2, "feature_dim": 8, **options})
    shape = (head.num_classes * head.num_components, head.dim)
    factors = None if head.factors is None else 0.2 * torch.randn(*shape, head.factors.shape[-1])
    weights = torch.randn(head.num_classes, head.num_components).log_softmax(1)
    head.set_mixture(Gaussians(torch.randn(shape), 0.2 + torch.rand(shape), factors), weights)
    return head


def mixtures(head):
    covariance = torch.diag_embed(head.variances.double())
    if head.factors is not None:
        covariance = covariance + head.factors.double() @ head.factors.double().transpose(-1, -2)
    components = torch.distributions.MultivariateNormal(head.means.double(), covariance)
    weights = torch.distributions.Categorical(logits=head.log_weights.double())
    return torch.distributions.MixtureSameFamily(weights, components)


@pytest.mark.parametrize("covariance", ["diagonal", "low_rank"])
@pytest.mark.parametrize("evidence", ["max", "logsumexp"])
def test_evidence_equals_torch_distributions(covariance, evidence):
    head = fitted_head(covariance=covariance, rank=2, evidence=evidence, **PLAIN)
    x = torch.randn(70, 8)
    mixture = mixtures(head)
    if evidence == "logsumexp":
        expected = mixture.log_prob(x.double()[:, None])
    else:
        parts = mixture.component_distribution.log_prob(x.double()[:, None, None])
        expected = (parts + head.log_weights.double()).amax(-1)
    assert (head.evidence(x) - expected).abs().max() < 1e-4


def test_log_likelihood_equals_torch_distributions():
    head = fitted_head(**PLAIN)
    features = torch.randn(2, 8, 3, 5)
    rows = features.movedim(1, -1).double()[..., None, :]
    by_class = mixtures(head).log_prob(rows)
    assert torch.allclose(head.log_likelihood(features, "class").double(), by_class.amax(-1), atol=1e-4)
    marginal = by_class.logsumexp(-1) - math.log(3)
    assert torch.allclose(head.log_likelihood(features, "marginal").double(), marginal, atol=1e-4)
    best = head.evidence(features.movedim(1, -1).flatten(0, 2)).amax(1).view(2, 3, 5)
    assert torch.allclose(head.log_likelihood(features, "max"), best, atol=1e-5)


@pytest.mark.parametrize("covariance", ["diagonal", "low_rank"])
def test_log_ratio_equals_torch_distributions(covariance):
    head = fitted_head(covariance=covariance, rank=2, outlier_components=3, **PLAIN)
    features = torch.randn(2, 8, 3, 5)
    logits = head(features)
    with pytest.raises(InputError, match="has no mixture of outliers"):
        head.log_ratio(features)
    outliers = fitted_head(num_classes=1, num_components=3, covariance=covariance, rank=2, **PLAIN)
    head.set_outliers(outliers.gaussians, outliers.log_weights[0])
    rows = features.movedim(1, -1).double()[..., None, :]
    inside = mixtures(head).log_prob(rows).logsumexp(-1) - math.log(3)
    found = head.log_ratio(features)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), mixtures(outliers).log_prob(rows)[..., 0] - inside, atol=1e-4, rtol=0)
    assert torch.equal(head(features), logits)  # classification does not know of outliers


@pytest.mark.parametrize("logit_norm", ["layer_norm", "temperature", "none"])
@pytest.mark.parametrize("covariance", ["diagonal", "spherical", "low_rank"])
def test_gradients_reach_features_and_not_the_mixture(logit_norm, covariance):
    head = fitted_head(logit_norm=logit_norm, covariance=covariance, embed_dim=6, rank=2, evidence="logsumexp")
    features = torch.randn(1, 8, 4, 6, requires_grad=True)
    before = {name: value.clone() for name, value in head.named_buffers()}
    F.cross_entropy(head(features), torch.randint(0, 3, (1, 4, 6))).backward()
    assert features.grad.abs().sum() > 0
    assert all(parameter.grad is not None for parameter in head.parameters())
    assert {name for name, _ in head.named_parameters()}.isdisjoint(before)
    assert all(torch.equal(value, before[name]) for name, value in head.named_buffers())


@pytest.mark.parametrize("evidence", ["max", "logsumexp"])
def test_classes_never_seen_are_never_predicted(evidence):
    head = fitted_head(evidence=evidence)
    head.log_weights[1] = -math.inf
    head.log_weights[2, 0] = -math.inf  # and one component alone
    features = torch.randn(1, 8, 5, 7, requires_grad=True)
    logits = head(features)
    assert (logits[:, 1] == -math.inf).all() and logits[:, [0, 2]].isfinite().all()
    F.cross_entropy(logits, torch.zeros(1, 5, 7, dtype=torch.long)).backward()
    assert features.grad.isfinite().all()
    for kind in ("max", "class", "marginal"):
        assert head.log_likelihood(features, kind).isfinite().all()


def test_mixture_is_exact_under_autocast():
    head = fitted_head(feature_dim=16)
    features = torch.randn(1, 16, 4, 4)
    expected = head(features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head(features), expected)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"covariance": "low_rank", "embed_dim": 5, "logit_norm": "temperature"},
        {"covariance": "low_rank", "outlier_components": 2},
    ],
)
def test_save_and_load(tmp_path, options):
    head = fitted_head(**options)
    head.log_weights[0, 1] = -math.inf
    if head.config["outlier_components"]:
        factors = torch.randn(2, 8, 4)
        head.set_outliers(Gaussians(torch.randn(2, 8), torch.rand(2, 8), factors), torch.tensor([0.0, -math.inf]))
    head.save_pretrained(tmp_path)
    again = GMMDensityHead.from_pretrained(tmp_path)
    features = torch.randn(1, 8, 3, 4)
    assert torch.equal(again(features), head(features)) and again.has_outliers == head.has_outliers
    if head.has_outliers:
        assert torch.equal(again.log_ratio(features), head.log_ratio(features))
    assert all(again.config[name] == value for name, value in options.items())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"covariance": "full"}, "unknown covariance 'full'"),
        ({"evidence": "mean"}, "evidence"),
        ({"logit_norm": "batch"}, "logit_norm"),
        ({"mixture_weights": "some"}, "mixture_weights"),
        ({"num_components": 0}, "num_components=0"),
        ({"embed_dim": -1}, "embed_dim=-1"),
        ({"variance_floor": 0.0}, "variance_floor=0.0 must be a finite number above 0"),
        ({"variance_floor": math.nan}, "variance_floor=nan"),
        ({"variance_floor": math.inf}, "variance_floor=inf"),
        ({"outlier_components": -1}, "outlier_components=-1"),
        ({"covariance": "low_rank", "rank": 8, "feature_dim": 8}, "rank=8"),
    ],
)
def test_bad_arguments(options, named):
    with pytest.raises(InputError, match=named):
        GMMDensityHead(**options)


def blobs(n=600):
    """Two classes of three well separated Gaussians each; class, point, true means."""
    means = 4 * torch.tensor([[[1.0, 0, 0], [0, 1, 0], [0, 0, 1]], [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]])
    classes = torch.arange(n) % 2
    component = torch.arange(n) // 2 % 3
    return means[classes, component] + 0.5 * torch.randn(n, 3), classes, means


@pytest.mark.parametrize("covariance", ["diagonal", "spherical", "low_rank"])
@pytest.mark.parametrize("weights", ["uniform", "learned"])
def test_em_raises_the_likelihood_and_finds_the_means(covariance, weights):
    head = GMMDensityHead(2, 3, 3, covariance=covariance, rank=1, mixture_weights=weights, variance_floor=1e-6, **PLAIN)
    x, classes, means = blobs()
    cfg, keys = MixtureConfig(sinkhorn_iterations=10), random_keys(len(x), 0)
    history = run_em(head, x, classes, keys, cfg, iterations=40, tolerance=1e-5)
    assert history[-1] > history[0] + 0.5
    if weights == "learned" and covariance != "low_rank":
        assert all(b >= a - 1e-4 for a, b in zip(history, history[1:], strict=False))  # plain EM never loses
    distance = torch.cdist(means, head.means)  # class by class, in any order
    assert distance.amin(2).max() < 0.2
    assert torch.allclose(head.log_weights.exp(), torch.tensor(1 / 3), atol=0.02)


@pytest.mark.parametrize("memory", ["ema", "fifo"])
@pytest.mark.parametrize("assignment", ["fixed", "official"])
def test_em_on_a_stream_finds_the_means(memory, assignment):
    head = GMMDensityHead(2, 3, 3, variance_floor=1e-2, **PLAIN)
    cfg = MixtureConfig(memory=memory, assignment=assignment, decay=0.9, fifo_size=100, interval=2)
    em = MixtureEM(head, cfg)
    for _ in range(60):
        x, classes, means = blobs(120)
        step(em, head, x, classes)
    assert torch.cdist(means, head.means).amin(2).max() < 0.3
    assert all("pixels" not in name for name in em.state_dict())  # a memory of pixels is no part of checkpoints


def step(em, head, x, classes, correct=None, keys=None):
    """One step of EM as training takes it."""
    keys = random_keys(len(x), 0) if keys is None else keys
    correct = torch.ones(len(x), dtype=torch.bool) if correct is None else correct
    em.seed(head, x, classes, keys)
    return em.update(head, x, classes, head.own_log_density(x, classes), correct, keys)


def stream(em, head, steps):
    for number in steps:
        torch.manual_seed(number)
        x, classes, _ = blobs(60)
        step(em, head, x, classes, torch.rand(60) > 0.3, random_keys(60, number))


@pytest.mark.parametrize("covariance", ["diagonal", "low_rank"])
@pytest.mark.parametrize("assignment", ["fixed", "official"])
def test_resumed_em_equals_uninterrupted_em(covariance, assignment):
    def fresh():
        head = GMMDensityHead(2, 3, 3, covariance=covariance, rank=1, **PLAIN)
        return head, MixtureEM(head, MixtureConfig(interval=3, assignment=assignment))

    head, em = fresh()
    stream(em, head, range(12))
    first, first_em = fresh()
    stream(first_em, first, range(7))
    second, second_em = fresh()
    second.load_state_dict(first.state_dict())
    second_em.load_state_dict(first_em.state_dict())
    stream(second_em, second, range(7, 12))
    for name, value in head.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_only_correct_pixels_enter():
    head = GMMDensityHead(1, 1, 2, variance_floor=1e-6, **PLAIN)
    em = MixtureEM(head, MixtureConfig(decay=0.0))
    x = torch.tensor([[0.0, 0], [0, 2], [100, 100]])
    classes, correct = torch.zeros(3, dtype=torch.long), torch.tensor([True, True, False])
    for _ in range(2):  # the first time there are no statistics yet, so all pixels count
        step(em, head, x, classes, correct)
    assert torch.allclose(head.means[0, 0], torch.tensor([0.0, 1.0]))


def test_empty_components_are_seeded_again():
    head = GMMDensityHead(1, 2, 2, mixture_weights="learned", variance_floor=1e-3, **PLAIN)
    far = Gaussians(torch.tensor([[0.0, 0], [1e3, 1e3]]), torch.ones(2, 2))
    head.set_mixture(far, torch.full((1, 2), -math.log(2)))
    em = MixtureEM(head, MixtureConfig(decay=0.5))
    x = torch.cat([torch.randn(100, 2) - 5, torch.randn(100, 2) + 5])
    for _ in range(30):
        step(em, head, x, torch.zeros(200, dtype=torch.long))
    assert sorted(head.means[0, :, 0].round().tolist()) == [-5, 5]


def test_fewer_pixels_than_components_leave_components_unused():
    head = GMMDensityHead(2, 4, 3, **PLAIN)
    x, classes = torch.randn(42, 3), torch.zeros(42, dtype=torch.long)
    classes[:2] = 1
    run_em(head, x, classes, random_keys(len(x), 0), MixtureConfig(), iterations=5, tolerance=0.0)
    assert head.active.sum(1).tolist() == [4, 2]
    assert head.log_weights[1].exp().sum().isclose(torch.tensor(1.0))
    assert head.component_log_density(x)[:, head.active].isfinite().all()


def test_nothing_to_learn_from_changes_nothing():
    head = fitted_head()
    before = {name: value.clone() for name, value in head.state_dict().items()}
    em = MixtureEM(head, MixtureConfig())
    x, classes = torch.zeros(0, 8), torch.zeros(0, dtype=torch.long)
    assert step(em, head, x, classes).shape == (0,)
    for name, value in head.state_dict().items():
        if name != "log_weights":
            assert torch.equal(value, before[name])


def test_constant_features_have_the_floor_as_variance():
    head = GMMDensityHead(2, 4, 3, variance_floor=0.01, **PLAIN)
    x, classes = torch.full((40, 3), 0.7), torch.arange(40) % 2
    history = run_em(head, x, classes, random_keys(40, 0), MixtureConfig(), iterations=5, tolerance=0.0)
    assert head.active.any(1).all() and np.isfinite(history).all()
    assert torch.allclose(head.variances[head.active], torch.tensor(0.01), atol=1e-6)
    assert torch.allclose(head.means[head.active], torch.tensor(0.7))
    assert head(x.t()[None, :, None]).isfinite().all()


def test_more_than_255_components():
    head = GMMDensityHead(60, 5, 4, **PLAIN)
    x = torch.randn(6000, 4)
    classes = torch.arange(6000) % 60
    run_em(head, x, classes, random_keys(len(x), 0), MixtureConfig(), iterations=2, tolerance=0.0)
    assert head.active.all() and (head.means[51] != 0).any()


@pytest.mark.parametrize("options", [{}, {"assignment": "official"}, {"memory": "fifo", "fifo_push": 100}])
def test_two_processes_find_what_one_finds(options, monkeypatch):
    x, classes, _ = blobs(120)
    cfg = MixtureConfig(decay=0.5, **options)

    def work(rows):
        head = GMMDensityHead(2, 3, 3, **PLAIN)
        em, keys = MixtureEM(head, cfg), random_keys(120, 0)
        for _ in range(5):
            step(em, head, x[rows], classes[rows], keys=keys[rows])
        return head

    single = work(slice(None))
    lockstep = Lockstep()
    monkeypatch.setattr("gss.training.density.em.distributed", lockstep)
    monkeypatch.setattr("gss.core.sampling.distributed", lockstep)
    # The second process has pixels of one class only.
    mine = torch.arange(120) % 2 == 0
    mine &= torch.arange(120) < 40
    first, second = lockstep.run(lambda rank: work(mine if rank else ~mine))
    for name, value in single.state_dict().items():
        assert torch.equal(first.state_dict()[name], second.state_dict()[name]), name
        torch.testing.assert_close(first.state_dict()[name], value, atol=1e-5, rtol=1e-4, msg=name)


def test_components_that_die_start_again_alike_in_two_processes(monkeypatch):
    x = torch.cat([torch.randn(60, 2) - 5, torch.randn(60, 2) + 5])
    classes, keys = torch.zeros(120, dtype=torch.long), random_keys(120, 0)

    def work(rows):
        head = GMMDensityHead(1, 2, 2, mixture_weights="learned", **PLAIN)
        far = Gaussians(torch.tensor([[0.0, 0], [1e3, 1e3]]), torch.ones(2, 2))
        head.set_mixture(far, torch.full((1, 2), -math.log(2)))
        em = MixtureEM(head, MixtureConfig(decay=0.5))
        for _ in range(10):
            step(em, head, x[rows], classes[rows], keys=keys[rows])
        return head

    single = work(slice(None))
    lockstep = Lockstep()
    monkeypatch.setattr("gss.training.density.em.distributed", lockstep)
    monkeypatch.setattr("gss.core.sampling.distributed", lockstep)
    first, second = lockstep.run(lambda rank: work(slice(rank, None, 2)))
    assert torch.equal(first.means, second.means)
    assert (single.means < 100).all()
    torch.testing.assert_close(first.means, single.means, atol=1e-4, rtol=1e-4)


def test_a_resumed_memory_keeps_what_was_known_until_it_is_full_again():
    def fresh():
        head = GMMDensityHead(2, 3, 3, variance_floor=1e-2, **PLAIN)
        return head, MixtureEM(head, MixtureConfig(memory="fifo", fifo_size=100, fifo_push=10))

    head, em = fresh()
    stream(em, head, range(30))
    again, again_em = fresh()
    again.load_state_dict(head.state_dict())
    again_em.load_state_dict(em.state_dict())
    stream(again_em, again, range(30, 31))
    assert (again.means - head.means).abs().max() < 0.2
    # Ten new pixels of a hundred: the variances are still those of many.
    assert (again.variances / head.variances - 1).abs().max() < 0.3
    assert torch.allclose(again_em.count, em.count)
    stream(again_em, again, range(31, 50))
    expected = again_em.fifo.moments(full=False)
    assert torch.allclose(again_em.first, expected.first) and torch.allclose(again_em.count, expected.count)


def test_pixel_memory_keeps_evenly_spaced_newest_pixels():
    memory = PixelMemory(3, 6, 1, torch.device("cpu"))
    memory.push(torch.arange(10.0)[:, None], torch.tensor([0] * 9 + [2]), most=3)
    assert memory.fill.tolist() == [3, 0, 1]
    assert memory.pixels[0, :3, 0].tolist() == [0, 4, 8]
    memory.push(torch.arange(20.0, 25.0)[:, None], torch.zeros(5, dtype=torch.long), most=5)
    assert memory.fill.tolist() == [6, 0, 1]
    assert sorted(memory.pixels[0, :, 0].tolist()) == [8, 20, 21, 22, 23, 24]
    found = memory.moments(full=False)
    assert found.count.tolist() == [6, 0, 1]
    assert torch.allclose(found.first[0], memory.pixels[0].double().sum(0))
