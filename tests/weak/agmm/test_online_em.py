"""Online EM and `AGMMLoss`: against a plain statement, and what must not matter to them."""

import dataclasses

import numpy as np
import pytest
import torch
from agmm_toys import B, D, H, K, W, h, inputs, labels_of, w
from hypothesis import given
from hypothesis import strategies as st

from gss.config.agmm import AgmmConfig, ConferenceConfig, OnlineConfig
from gss.config.weak_labels import SpreadConfig
from gss.weak.agmm.evidence import gather_evidence
from gss.weak.agmm.losses import AGMMLoss, ramp_up
from gss.weak.agmm.mixture import label_mass, unit_features
from gss.weak.agmm.online_em import ClassBank, expectation_maximisation, pseudo_weight

WEIGHTS = {"labelled": 1.0, "pull": 1.0, "push": 1.0}
METHODS = [
    AgmmConfig(method="partial"),
    AgmmConfig(method="conference", **WEIGHTS),
    AgmmConfig(method="conference", conference=ConferenceConfig(variance="fixed"), **WEIGHTS),
    AgmmConfig(method="online", online=OnlineConfig(spread=SpreadConfig(steps=[]), gate="agreement"), **WEIGHTS),
    AgmmConfig(method="online", **WEIGHTS),
]
IMAGES = torch.rand(8, 3, H, W, generator=torch.Generator().manual_seed(1))


def filled_bank(seed=0, missing=()):
    bank = ClassBank(K, D, 0.99)
    generator = torch.Generator().manual_seed(seed)
    bank.means.copy_(unit_features(torch.randn(K, D, 1, 1, generator=generator))[..., 0, 0])
    bank.variances.copy_(torch.rand(K, generator=generator) + 0.1)
    bank.count.fill_(5)
    bank.count[list(missing)] = 0
    return bank


def normalised(x, axis=None):
    return x / x.sum(axis, keepdims=True)


def plain_em(features, log_probs, labels, valid, allowed, bank, *, mixture, unlabelled, shrinkage):
    """One image in float64: [D, h, w], [K, h, w], [H, W], [h, w], [K]."""
    features, probs, valid = (x.double().numpy() for x in (features, log_probs.exp(), valid))
    bank_means, bank_variances = bank.means.double().numpy(), bank.variances.double().numpy()
    area = H * W / (h * w)
    mass = label_mass(labels[None], K, (h, w))[0].double().numpy()
    present = [k for k in range(K) if mass[k].any()]
    known = [k for k in range(K) if allowed[k] and (k in present or bank.count[k] > 0)]
    certain = np.minimum(mass.sum(0), 1)

    def with_labels(posterior):
        out = np.empty_like(posterior)
        for i, j in np.ndindex(h, w):
            total = mass[:, i, j].sum()
            seed = mass[:, i, j] / total if total else 0
            out[:, i, j] = certain[i, j] * seed + (1 - certain[i, j]) * posterior[:, i, j]
        return out

    def centres(weights):
        return [
            (weights[k] * features).sum((1, 2)) / weights[k].sum() if k in present else bank_means[k] for k in range(K)
        ]

    def distances(means):
        return np.stack([((features - m[:, None, None]) ** 2).mean(0) for m in means])

    def spread(squared, belief):
        pixels = belief * valid * area
        total = sum(pixels[k].sum() for k in known)
        pooled = sum((pixels[k] * squared[k]).sum() for k in known) / total if total else 0.0
        variances = np.empty(K)
        for k in range(K):
            prior = bank_variances[k] if bank.count[k] > 0 else pooled
            bottom = pixels[k].sum() + shrinkage
            variances[k] = max(((pixels[k] * squared[k]).sum() + shrinkage * prior) / (bottom or 1), 1e-4)
        return variances

    first = centres(mass)
    squared = distances(first)
    allow = np.array(allowed, dtype=float)[:, None, None]
    variances = spread(squared, with_labels(normalised(probs * allow, 0)))
    neutral = np.full((h, w), np.exp(-0.5))
    score = np.stack([np.exp(-squared[k] / 2 / variances[k]) if k in known else neutral for k in range(K)])
    r = with_labels(normalised(allow * score**mixture * probs, 0))
    means = centres(mass + unlabelled * (1 - certain) * r * valid * area)
    squared = distances(means)
    variances = spread(squared, r)
    return r, np.stack(means), variances, squared / (2 * variances[:, None, None])


@pytest.mark.parametrize("shrinkage", [0.0, 20.0])
@pytest.mark.parametrize("mixture", [0.0, 0.5, 2.0])
def test_round_of_em(mixture, shrinkage):
    features, log_probs, _, labels = inputs()
    features, log_probs = unit_features(features).float(), log_probs.float()
    labels[-1, 3:5, 4:9] = 2  # class 3 of this image comes from the bank
    valid = torch.zeros(B, H, W, dtype=torch.bool)
    valid[:, :16] = True
    tags = torch.tensor([[True] * K, [True, True, True, False], [False, False, True, True]])
    exhaustive = torch.tensor([False, True, True])
    evidence = gather_evidence(labels, K, (h, w), valid=valid, tags=tags, exhaustive=exhaustive)
    assert evidence.allowed.tolist() == [[True] * 4, (tags[1] | evidence.present[1]).tolist(), tags[2].tolist()]
    bank = filled_bank(missing=[1])
    options = {"mixture": mixture, "unlabelled": 0.3, "shrinkage": shrinkage}
    found = expectation_maximisation(features, log_probs, evidence, bank, **options)
    for b in range(B):
        r, means, variances, energies = plain_em(
            features[b], log_probs[b], labels[b], evidence.valid[b], evidence.allowed[b].tolist(), bank, **options
        )
        known = found.known[b].numpy()
        np.testing.assert_allclose(found.responsibility[b], r, atol=2e-5)
        np.testing.assert_allclose(found.means[b][known], means[known], atol=2e-5)
        np.testing.assert_allclose(found.variances[b][known], variances[known], rtol=1e-4)
        np.testing.assert_allclose(found.energies[b][known], energies[known], rtol=1e-3, atol=1e-4)


def test_em_finds_clusters_from_one_click_each():
    generator = torch.Generator().manual_seed(3)
    truth = torch.randint(0, 3, (1, 12, 16), generator=generator)
    centres = torch.randn(3, 16, generator=generator)
    features = centres[truth].movedim(-1, 1) + 0.3 * torch.randn(1, 16, 12, 16, generator=generator)
    labels = torch.full((1, 48, 64), 255)
    for k in range(3):
        y, x = (truth[0] == k).nonzero()[5].tolist()
        labels[0, 4 * y + 1 : 4 * y + 3, 4 * x + 1 : 4 * x + 3] = k
    evidence = gather_evidence(labels, 3, (12, 16))
    found = expectation_maximisation(
        unit_features(features),
        torch.zeros(1, 3, 12, 16).log_softmax(1),
        evidence,
        ClassBank(3, 16, 0.99),
        mixture=1.0,
        unlabelled=0.1,
        shrinkage=32.0,
    )
    assert (found.responsibility.argmax(1) == truth).float().mean() > 0.95
    assert (found.energies.argmin(1) == truth).float().mean() > 0.99
    torch.testing.assert_close(found.responsibility.sum(1), torch.ones(1, 12, 16))


def test_pseudo_labels_carry_no_gradient():
    features, log_probs, _, labels = inputs()
    features, log_probs = features.float().requires_grad_(), log_probs.float().requires_grad_()
    evidence = gather_evidence(labels, K, (h, w))
    found = expectation_maximisation(
        features, log_probs, evidence, filled_bank(), mixture=0.5, unlabelled=0.1, shrinkage=1.0
    )
    assert not found.responsibility.requires_grad and not found.variances.requires_grad
    assert found.means.requires_grad and found.energies.requires_grad
    (gradient,) = torch.autograd.grad(found.energies.sum(), log_probs, allow_unused=True)
    assert gradient is None


def test_gate_trusts_agreement_and_labels():
    features, log_probs, _, _ = inputs()
    labels = torch.full((1, H, W), 255)
    labels[0, 8:12, 8:12] = 1
    labels[0, 0, 20] = 0
    # A doubtful label supports a pseudo-label too.
    mass = gather_evidence(labels, K, (h, w), confidence=torch.full((1, H, W), 0.4)).mass
    responsibility = torch.full((1, K, h, w), 0.1)
    responsibility[:, 1] = 0.7
    gate, agree = pseudo_weight(responsibility, log_probs[:1], mass, agreed=True)
    expected = log_probs[:1].argmax(1) == 1
    assert torch.equal(agree, expected) and 0 < expected.sum() < expected.numel()
    supported = mass[:, 1] > 0
    assert (supported & ~expected).any() and (~supported & ~expected).any()
    assert torch.equal(gate, 0.7 * (expected | supported))
    weight, same = pseudo_weight(responsibility, log_probs[:1], mass, agreed=False)
    assert torch.equal(weight, torch.full((1, h, w), 0.7)) and torch.equal(same, agree)


def loss_of(cfg, features, logits, labels, *, bank=None, train=False, **more):
    module = AGMMLoss(cfg, K, D).train(train)
    if bank is not None and cfg.method == "online":
        module.bank.load_state_dict(bank.state_dict())
    more = {"progress": 0.7, "images": IMAGES[: len(features)]} | more
    total, terms = module(features, logits, labels, **more)
    return total, terms, module


def batch(seed=0):
    features, logits, _, labels = inputs(seed)
    return features.float(), logits.float(), labels


@pytest.mark.parametrize("cfg", METHODS)
@pytest.mark.parametrize("bank", [None, filled_bank()])
def test_images_do_not_depend_on_their_batch(cfg, bank):
    features, logits, labels = batch()
    tags = torch.tensor([[True, False, True, True], [True] * 4, [True, True, False, False]])
    valid = torch.ones(B, H, W, dtype=torch.bool)
    valid[0, :6] = False
    both = features.requires_grad_(), logits.requires_grad_()
    together, terms, _ = loss_of(cfg, features, logits, labels, bank=bank, tags=tags, valid=valid)
    whole = torch.autograd.grad(together, both, allow_unused=True)
    parts, gradients = [], []
    for b in range(B):
        one = slice(b, b + 1)
        own = {"tags": tags[one], "valid": valid[one], "images": IMAGES[one]}
        part, _, _ = loss_of(cfg, features[one], logits[one], labels[one], bank=bank, **own)
        parts.append(part)
        gradients.append(torch.autograd.grad(part, both, allow_unused=True))
    torch.testing.assert_close(together, torch.stack(parts).mean(), rtol=1e-5, atol=1e-6)
    assert float(together.detach()) > 0 and set(terms) >= {"tag"}
    for gradient, single in zip(whole, zip(*gradients, strict=True), strict=True):
        assert (gradient is None) == (single[0] is None)
        if gradient is not None:
            torch.testing.assert_close(gradient, sum(single) / B, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cfg", METHODS)
def test_class_numbers_do_not_matter(cfg):
    features, logits, labels = batch()
    order = torch.tensor([2, 0, 3, 1])
    renumber = torch.cat([order.argsort(), torch.full((252,), 255)])
    bank = filled_bank()
    renamed = filled_bank()
    for name in ("means", "variances", "count"):
        getattr(renamed, name).copy_(getattr(bank, name)[order])
    first, terms, _ = loss_of(cfg, features, logits, labels, bank=bank)
    second, others, _ = loss_of(cfg, features, logits[:, order], renumber[labels], bank=renamed)
    torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(terms, others, rtol=1e-5, atol=1e-6)


@given(st.sampled_from(METHODS), st.integers(0, 50), st.sampled_from([0.0, 0.05, 0.12, 0.5, 1.0]), st.booleans())
def test_never_nan(cfg, seed, progress, extreme):
    """Crops without labels, of one label, constant features, huge logits, empty and full tags, nothing valid."""
    generator = torch.Generator().manual_seed(seed)
    scale = 1e4 if extreme else 1.0
    features = torch.randn(5, D, h, w, generator=generator) * scale
    features[1] = 0.0
    logits = torch.randn(5, K, h, w, generator=generator) * (100 if extreme else 1)
    labels = labels_of(seed, batch=5)
    labels[0] = 255
    labels[2] = 255
    labels[2, 0, 0] = 3
    labels[3] = 1
    valid = torch.rand(5, H, W, generator=generator) > 0.3
    valid[4] = False
    tags = torch.rand(5, K, generator=generator) > 0.5
    tags[0] = False
    features.requires_grad_(), logits.requires_grad_()
    total, terms, module = loss_of(cfg, features, logits, labels, progress=progress, valid=valid, tags=tags, train=True)
    total.backward()
    assert torch.isfinite(total) and all(torch.isfinite(value) for value in terms.values())
    for x in (features, logits):
        assert x.grad is None or torch.isfinite(x.grad).all()
    assert all(torch.isfinite(value).all() for value in module.state_dict().values())


@pytest.mark.parametrize("cfg", METHODS)
def test_an_image_without_labels_or_bank_costs_nothing(cfg):
    features, logits, _ = batch()
    features.requires_grad_(), logits.requires_grad_()
    total, _, module = loss_of(cfg, features, logits, torch.full((B, H, W), 255), train=True)
    total.backward()
    assert float(total.detach()) == 0 and not logits.grad.any()
    assert features.grad is None or not features.grad.any()
    assert cfg.method != "online" or not module.bank.known.any()


@pytest.mark.parametrize("cfg", METHODS[1:])
def test_padding_is_not_looked_at(cfg):
    features, logits, labels = batch()
    valid = torch.ones(B, H, W, dtype=torch.bool)
    valid[:, 12:] = False  # three rows of cells are left
    labels[:, 10:] = 255  # enlargement reads the row of cells below
    images = IMAGES[:B].clone()
    first, _, _ = loss_of(cfg, features, logits, labels, valid=valid, bank=filled_bank(), images=images)
    row = 4 if cfg.method == "online" and cfg.online.spread.steps else 3  # so do pseudo-labels on a finer grid
    features[:, :, row:], logits[:, :, row:], images[:, :, 12:] = 9.0, torch.randn(B, K, 5 - row, w), 0.5
    second, _, _ = loss_of(cfg, features, logits, labels, valid=valid, bank=filled_bank(), images=images)
    torch.testing.assert_close(first, second)
    third, _, _ = loss_of(cfg, features, logits, labels, bank=filled_bank())
    assert float(third) != float(second)


def test_online_forgets_the_scale_of_features():
    features, logits, labels = batch()
    first, _, _ = loss_of(METHODS[-1], features, logits, labels)
    second, _, _ = loss_of(METHODS[-1], 50 * features, logits, labels)
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cfg", METHODS[1:])
def test_half_precision_inputs(cfg):
    features, logits, labels = batch()
    exact, _, _ = loss_of(cfg, features, logits, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded, _, _ = loss_of(cfg, features.bfloat16(), logits.bfloat16(), labels)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0.03, atol=0.03)


def test_every_weight_and_tag_counts():
    features, logits, labels = batch()
    tags = torch.tensor([[True, False, True, False]] * B)
    for cfg in METHODS:
        whole, terms, _ = loss_of(cfg, features, logits, labels, tags=tags, progress=1.0)
        names = {"partial": ["tag"], "conference": ["tag", "cross", "labelled", "push"]}.get(
            cfg.method, ["tag", "cross", "labelled", "pull", "push"]
        )
        assert set(terms) - {"agreement"} == set(names)
        torch.testing.assert_close(whole, sum(terms[name] for name in names))
        for name in names:
            less, _, _ = loss_of(
                dataclasses.replace(cfg, **{name: 0.0}), features, logits, labels, tags=tags, progress=1.0
            )
            torch.testing.assert_close(less, whole - terms[name])
            assert float(terms[name]) > 0
    free, terms, _ = loss_of(METHODS[0], features, logits, labels, tags=tags, exhaustive=torch.zeros(B).bool())
    assert float(free) == 0 == float(terms["tag"])


def test_warm_up_learns_labels_and_tags_alone():
    features, logits, labels = batch()
    cfg = AgmmConfig(online=OnlineConfig(warmup=0.2, ramp=0.4))
    early, _, module = loss_of(cfg, features.requires_grad_(), logits, labels, progress=0.19, train=True)
    assert float(early.detach()) == 0
    assert module.bank.known.tolist() == [True, False, True, True]  # but the bank fills
    late, _, _ = loss_of(cfg, features, logits, labels, progress=0.25)
    full, _, _ = loss_of(cfg, features, logits, labels, progress=0.6)
    assert 0 < float(late.detach()) < float(full.detach())
    assert [ramp_up(p, 0.2, 0.4) for p in (0.1, 0.6, 1.0)] == [0, 1, 1]
    assert ramp_up(0.2, 0.2, 0.4) == pytest.approx(np.exp(-5)) and ramp_up(0.2, 0.2, 0.0) == 1


def test_bank_averages_images_that_label_a_class():
    cfg = AgmmConfig(online=OnlineConfig(bank_decay=0.5, unlabelled=0.0))
    module = AGMMLoss(cfg, K, D).train()
    expected = torch.zeros(K, D)
    for number in range(3):
        features, logits, labels = batch(number)
        if number == 2:
            labels[labels == 3] = 255
        module(features, logits, labels, progress=0.5, images=IMAGES[:B])
        evidence = gather_evidence(labels, K, (h, w))
        unit = unit_features(features)
        for k in (0, 2, 3):
            own = evidence.mass[:, k]
            images = [b for b in range(B) if own[b].any()]
            if not images:
                assert k == 3 and number == 2
                continue
            means = [(own[b] * unit[b]).sum((1, 2)) / own[b].sum() for b in images]
            rate = max(1 / (number + 1), 0.5)
            expected[k] += rate * (torch.stack(means).mean(0) - expected[k])
    torch.testing.assert_close(module.bank.means, expected, rtol=1e-4, atol=1e-5)
    assert module.bank.count.tolist() == [3, 0, 3, 2] and not module.bank.means[1].any()
    before = module.bank.means.clone()
    module.eval()(features, logits, labels, progress=0.5, images=IMAGES[:B])
    assert torch.equal(before, module.bank.means)


def test_confidence_weighs_labels():
    labels = torch.full((1, H, W), 255)
    labels[0, 4:12, 4:12], labels[0, 4:12, 16:24] = 0, 2
    confidence = torch.full((1, H, W), 0.5)
    confidence[labels == 2] = 0.0
    whole = gather_evidence(labels, K, (h, w))
    half = gather_evidence(labels, K, (h, w), confidence=confidence)
    torch.testing.assert_close(half.mass[:, 0], 0.5 * whole.mass[:, 0])
    assert half.present.tolist() == [[True, False, False, False]]  # class 2 has no weight
    assert half.certainty[0, 1, 1] == 0.5 and half.certainty[0, 1, 4] == 0 and whole.certainty[0, 1, 4] == 1


def test_evidence_without_tags_or_with_empty_ones():
    labels = labels_of()
    evidence = gather_evidence(labels, K, (h, w), tags=torch.zeros(B, K, dtype=torch.bool))
    assert evidence.allowed[0].tolist() == [True, False, True, True]  # labelled classes count as tags
    assert evidence.allowed[-1].all()  # an empty set of tags says nothing
    assert gather_evidence(labels, K, (h, w)).allowed.all()
