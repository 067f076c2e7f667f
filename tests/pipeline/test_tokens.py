"""Reading tokens in strips, with shortlists of codes where the auxiliary head is certain."""

import dataclasses

import numpy as np
import pytest
import torch
from host_reads import HostReads
from tiny_pipeline import tiny_pipeline
from torch.nn import functional as F

from gss.pipeline import tokens as reading
from gss.pipeline.tokens import KeptReader, TokenReader

MODES = ("hard", "marginal", "aux", "fused")
CLASSES, CODES, CELL = 5, 64, 4


def reader_of(pipeline):
    return TokenReader(pipeline.prior, pipeline.vqvae, pipeline.codec, pipeline.likelihood)


@pytest.fixture(params=["low_rank", "evidence", "tied", "full"])
def pipeline(request):
    return certain_pipeline(request.param)


def certain_pipeline(classifier="evidence"):
    """A pipeline whose codes and heads fit: codes show one or two classes, and the evidence chooses the code."""
    pipeline = tiny_pipeline(classifier=classifier)
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(CODES)[:, None, None] % CLASSES
    split = torch.rand(CODES, CELL, CELL, generator=generator) < 0.3
    split[: 2 * CLASSES] = False
    labels = torch.where(split, (labels + 1 + torch.arange(CODES)[:, None, None] // CLASSES) % CLASSES, labels)
    table = 0.02 + 0.9 * F.one_hot(labels, CLASSES).movedim(-1, 1).float()
    pipeline.likelihood.set_table(table / table.sum(1, keepdim=True))
    with torch.no_grad():
        if classifier == "evidence":
            pipeline.prior.tie_evidence(pipeline.likelihood.table)
            pipeline.prior.token_head.weight.mul_(0.02)
        elif classifier == "tied":
            pipeline.prior.tie_codebook(torch.randn(CODES, 16, generator=generator))
    return pipeline


@pytest.fixture
def image():
    random = np.random.default_rng(0)
    coarse = torch.from_numpy(random.random((1, 3, 6, 8), dtype=np.float32))
    return F.interpolate(coarse, size=(96, 128), mode="bilinear")[0].clamp(0, 1)


def both(pipeline, image, **options):
    """Maps of exact and of selective reading, by name."""
    return [
        {name: maps[0] for name, maps in pipeline.predict_probabilities(image, exact=exact, **options).items()}
        for exact in (True, False)
    ]


@pytest.mark.parametrize("rules", [[], [[1.0, 1.0]]])
def test_without_shortlists_the_result_is_the_exact_one(pipeline, image, rules):
    pipeline.prior.config.shortlists = rules
    scores = ["token_entropy", "token_nll", "disagreement"]
    exact, read = both(pipeline, image, modes=MODES, scores=scores, window="slide", window_size=(64, 64))
    assert list(exact) == list(read)
    for name in exact:
        torch.testing.assert_close(read[name], exact[name], atol=2e-5, rtol=1e-4, msg=name)
    first, second = (pipeline(image, exact=value) for value in (True, False))
    np.testing.assert_array_equal(first.tokens[0], second.tokens[0])
    assert np.abs(first.maskiges[0].astype(int) - second.maskiges[0]).max() <= 1


def test_shortlists_keep_labels_and_probabilities(image):
    pipeline = certain_pipeline()
    exact, read = both(pipeline, image, modes=MODES)
    assert not torch.equal(exact["marginal"], read["marginal"])  # something was left out
    for mode in MODES:
        assert (exact[mode].argmax(0) == read[mode].argmax(0)).float().mean() > 0.998, mode
        assert (exact[mode] - read[mode]).abs().mean() < 1e-3, mode
        torch.testing.assert_close(read[mode].sum(0), torch.ones(96, 128))
    torch.testing.assert_close(read["aux"], exact["aux"], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("rules", [[[0.6, 0.3]], [[0.8, 0.6], [0.3, 0.05]]])
def test_the_stated_bound_holds_for_every_pixel(image, rules):
    pipeline = certain_pipeline()
    prior = pipeline.prior
    prior.config.shortlists, prior.config.shortlist_loss = rules, 1.0
    with torch.no_grad():
        out = pipeline.predict_tokens(image[None])
        posterior = out.token_logits.softmax(1)[0].flatten(1)  # [V, n]
        exact = pipeline.likelihood.marginal(out.token_logits.softmax(1))[0]
        means = F.avg_pool2d(F.interpolate(out.aux_logits, scale_factor=4, mode="bilinear").softmax(1), 4)
    certainty, label = means[0].flatten(1).max(0)
    share = pipeline.likelihood.table.mean((2, 3))  # [V, K]
    left_out = torch.zeros_like(certainty)
    for least, needed in reversed(rules):
        mass = (posterior * (share[:, label] < needed)).sum(0)
        left_out = torch.where(certainty >= least, mass, left_out)
    assert left_out.max() > 0
    read = reader_of(pipeline).read(out, modes=["marginal"]).probabilities["marginal"][0]
    distance = (read - exact).abs().sum(0)
    bound = 2 * left_out.view(24, 32).repeat_interleave(4, 0).repeat_interleave(4, 1)
    assert (distance <= bound + 1e-4).all()


def test_all_codes_are_read_where_the_shortlists_miss_too_much(image, monkeypatch):
    monkeypatch.setattr(reading, "SAMPLE_STEP", 1)
    pipeline = tiny_pipeline(classifier="low_rank")  # the tokens know nothing of the auxiliary head
    pipeline.prior.config.shortlists = [[0.2, 0.4]]
    exact, read = both(pipeline, image, modes=["marginal"])
    torch.testing.assert_close(read["marginal"], exact["marginal"], atol=2e-5, rtol=1e-4)
    pipeline.prior.config.shortlist_loss = 1.0
    _, read = both(pipeline, image, modes=["marginal"])
    assert (read["marginal"] - exact["marginal"]).abs().max() > 0.05


@pytest.mark.parametrize(("strip", "chunk"), [(1, 1), (4000, 7), (2**20, 512)])
def test_strips_and_chunks_change_nothing(image, monkeypatch, strip, chunk):
    pipeline = certain_pipeline()
    with torch.no_grad():
        out = pipeline.predict_tokens(torch.stack([image, image.flip(-1)]), return_tokens=False)
    whole = reader_of(pipeline).read(out, modes=MODES, tokens=True, summary=True)
    monkeypatch.setattr(reading, "CPU_STRIP", strip)
    monkeypatch.setattr(reading, "CPU_CHUNK", chunk)
    parts = reader_of(pipeline).read(out, modes=MODES, tokens=True, summary=True)
    for field in dataclasses.fields(whole):
        a, b = getattr(whole, field.name), getattr(parts, field.name)
        for x, y in zip(a.values(), b.values(), strict=True) if isinstance(a, dict) else [(a, b)]:
            torch.testing.assert_close(x, y, atol=2e-5, rtol=1e-4, msg=field.name)


def test_no_map_of_all_codes_exists(image, monkeypatch):
    pipeline = certain_pipeline()
    pipeline.prior.config.shortlists = []
    monkeypatch.setattr(reading, "CPU_CHUNK", 32)
    cells = 24 * 32

    class Largest(torch.overrides.TorchFunctionMode):
        """Largest number of elements of a result whose rows have one entry for each code."""

        def __init__(self):
            super().__init__()
            self.numbers = 0

        def __torch_function__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.shape[-1:] == (CODES,):
                self.numbers = max(self.numbers, result.numel())
            return result

    with torch.no_grad():
        out = pipeline.predict_tokens(image[None], return_tokens=False)
        with Largest() as largest:
            reader_of(pipeline).read(out, modes=["marginal"], tokens=True, summary=True)
    assert 0 < largest.numbers <= CLASSES * CELL**2 * CODES < cells * CODES


def test_without_rules_reading_needs_no_value_on_the_host(image):
    """This is how other devices than a CPU read."""
    pipeline = certain_pipeline()
    pipeline.prior.config.shortlists = []
    reader = reader_of(pipeline)
    with torch.no_grad(), HostReads() as reads:
        out = pipeline.predict_tokens(image[None], return_tokens=False)
        reader.read(out, modes=MODES, tokens=True, summary=True)
    assert reads.names == []


def test_a_reader_is_kept_until_a_weight_changes():
    pipeline = certain_pipeline()
    kept, parts = KeptReader(), (pipeline.prior, pipeline.vqvae, pipeline.codec, pipeline.likelihood)
    first = kept.get(*parts)
    assert kept.get(*parts) is first
    with torch.no_grad():
        pipeline.prior.token_head.bias.add_(1)
    assert kept.get(*parts) is not first
    contextual = tiny_pipeline(decoder_type="contextual", likelihood=False)
    assert kept.get(contextual.prior, contextual.vqvae, contextual.codec, None) is None


def test_exact_is_the_default_of_a_pipeline_that_says_so(image):
    pipeline = certain_pipeline()
    exact, read = (pipeline(image, return_probabilities=True, exact=value).probabilities[0] for value in (True, False))
    pipeline.exact = True
    np.testing.assert_array_equal(pipeline(image, return_probabilities=True).probabilities[0], exact)
    np.testing.assert_array_equal(pipeline(image, return_probabilities=True, exact=False).probabilities[0], read)


def test_a_prior_without_rules_is_read_with_all_codes_at_once(pipeline, image):
    pipeline.prior.config.shortlists = []
    default, exact = (pipeline.predict_probabilities(image, modes=MODES, exact=value) for value in (None, True))
    for mode in MODES:
        assert torch.equal(default[mode][0], exact[mode][0]), mode
