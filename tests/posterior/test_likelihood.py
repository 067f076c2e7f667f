"""Cells and the exact likelihood of local codes, against plain loops."""

import numpy as np
import pytest
import torch

from gss.core.errors import InputError
from gss.posterior.cells import class_weights, collage, draw_cells, from_cells, is_uniform, to_cells
from gss.posterior.likelihood import CellLikelihood, fit_table, log_likelihood, soft_cells

K, V, F = 4, 12, 4


def random_likelihood(seed: int = 0) -> CellLikelihood:
    torch.manual_seed(seed)
    likelihood = CellLikelihood(V, K, F)
    likelihood.set_table(torch.randn(V, K, F, F).softmax(1), torch.rand(K) + 0.5)
    return likelihood


def random_labels(h: int = 3, w: int = 5) -> torch.Tensor:
    labels = torch.randint(K, (2, h * F, w * F))
    labels[torch.rand(labels.shape) < 0.2] = 255
    labels[0, :F, :F] = 255  # one wholly void cell
    labels[1, F : 2 * F, :F] = 2  # one uniform cell
    return labels


def test_cells_round_trip_and_order():
    labels = torch.arange(2 * 8 * 12).reshape(2, 8, 12)
    cells = to_cells(labels, 4)
    assert cells.shape == (2, 2, 3, 4, 4)
    assert torch.equal(cells[1, 1, 2], labels[1, 4:8, 8:12])
    assert torch.equal(from_cells(cells), labels)
    with pytest.raises(InputError, match="9x12"):
        to_cells(torch.zeros(1, 9, 12), 4)


def test_marginal_is_the_sum_over_codes():
    likelihood = random_likelihood()
    probs = torch.randn(2, V, 3, 5).softmax(1)
    got = likelihood.marginal(probs).double().numpy()
    table, p = likelihood.table.double().numpy(), probs.double().numpy()
    want = np.zeros((2, K, 3 * F, 5 * F))
    for y in range(3 * F):
        for x in range(5 * F):
            want[:, :, y, x] = p[:, :, y // F, x // F] @ table[:, :, y % F, x % F]
    np.testing.assert_allclose(got, want, atol=1e-6)
    np.testing.assert_allclose(got.sum(1), 1, atol=1e-5)


def test_marginal_equals_hard_for_certain_tokens():
    likelihood = random_likelihood()
    tokens = torch.randint(V, (1, 3, 5))
    probs = torch.nn.functional.one_hot(tokens, V).movedim(-1, 1).float()
    hard = likelihood.table.argmax(1)[tokens]  # [1, h, w, f, f]
    assert torch.equal(likelihood.marginal(probs).argmax(1), from_cells(hard))


def test_posterior_is_bayes_rule_over_valid_pixels():
    likelihood = random_likelihood()
    labels = random_labels()
    codes, weights = likelihood.posterior(labels, top_k=V, temperature=2.0)
    table, pixel = likelihood.table.double().numpy(), likelihood.pixel_weight.double().numpy()
    for b, i, j in [(0, 1, 2), (1, 0, 4), (1, 1, 0)]:
        cell = labels[b, i * F : (i + 1) * F, j * F : (j + 1) * F].numpy()
        score = np.zeros(V)
        for y in range(F):
            for x in range(F):
                if cell[y, x] != 255:
                    score += pixel[cell[y, x]] * np.log(table[:, cell[y, x], y, x])
        want = np.exp(score / 2 - (score / 2).max())
        want /= want.sum()
        order = codes[b, :, i, j].numpy()
        assert order[0] == score.argmax()
        np.testing.assert_allclose(weights[b, :, i, j].numpy(), want[order], atol=1e-5)
    assert (codes[0, :, 0, 0] == -100).all()
    assert torch.equal(likelihood.tokens(labels), codes[:, 0])


def test_posterior_leaves_labels_alone():
    labels = random_labels()
    before = labels.clone()
    random_likelihood().posterior(labels, 3)
    assert torch.equal(labels, before)


def test_em_raises_the_likelihood_and_recovers_prototypes():
    torch.manual_seed(1)
    prototypes = torch.randint(K, (V, F, F))
    cells = prototypes[torch.randint(V, (600,))].clone()
    flip = torch.rand(cells.shape) < 0.05
    cells[flip] = torch.randint(K, (int(flip.sum()),))
    start = soft_cells(cells[torch.randperm(600)[:V]], K)
    weight = torch.ones(K)

    def score(table):
        return log_likelihood(cells, table, weight).max(1).values.mean().item()

    scores = [score(start)] + [score(fit_table(cells, start, weight, iterations=n)) for n in (1, 3, 20)]
    assert scores == sorted(scores)
    found = fit_table(cells, start, weight, iterations=20).argmax(1)
    hits = (found[:, None] == prototypes[None]).float().mean((-1, -2)).amax(0)
    assert (hits > 0.95).float().mean() >= 0.75  # hard EM from a random start may merge a pair or two


def test_table_is_checked():
    likelihood = CellLikelihood(V, K, F)
    with pytest.raises(InputError, match="shape"):
        likelihood.set_table(torch.ones(V, K + 1, F, F))
    with pytest.raises(InputError, match="sum to 1"):
        likelihood.set_table(torch.ones(V, K, F, F))


def test_save_and_load(tmp_path):
    likelihood = random_likelihood()
    likelihood.save_pretrained(tmp_path)
    again = CellLikelihood.from_pretrained(tmp_path)
    assert torch.equal(likelihood.table, again.table) and torch.equal(likelihood.pixel_weight, again.pixel_weight)


def test_draws_prefer_borders_and_rare_classes():
    torch.manual_seed(0)
    labels = torch.zeros(1, 64, 64, dtype=torch.long)
    labels[0, :, 30:] = 1
    labels[0, 40:42, 3:5] = 2
    labels[0, 60:] = 255
    weight = class_weights(torch.bincount(labels[labels < 255], minlength=3), 0.5)
    cells = to_cells(labels, 4).flatten(0, 2)
    drawn = cells[draw_cells(labels, 4, 400, weight, 0.2)]
    assert len(drawn) == 400
    assert 0.15 < is_uniform(drawn).float().mean() < 0.25
    assert (drawn == 2).any((-1, -2)).float().mean() > 0.05
    assert not (drawn == 255).flatten(1).all(1).any()
    assert len(draw_cells(torch.full((1, 8, 8), 255), 4, 10, weight, 0.2)) == 0
    only = draw_cells(torch.zeros(1, 8, 8, dtype=torch.long), 4, 10, weight, 0.2)
    assert len(only) == 10


def test_collage_holds_the_cells():
    cells = torch.arange(6 * 16).reshape(6, 4, 4)
    assert torch.equal(to_cells(collage(cells), 4).flatten(0, 2), cells[:4])


def test_class_weights():
    weight = class_weights(torch.tensor([90, 10, 0]), 0.5)
    share = torch.tensor([0.9, 0.1])
    assert weight[2] == 0
    assert (weight[:2] * share).sum().item() == pytest.approx(1.0)
    assert (weight[1] / weight[0]).item() == pytest.approx(3.0)
    assert torch.equal(class_weights(torch.tensor([90, 10]), 0.0), torch.ones(2))
