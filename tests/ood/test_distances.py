"""Scores of the distance of features from those of training, against NumPy and torch."""

import math

import numpy as np
import pytest
import torch
from ood_toys import D, K
from score_checks import FittedChecks, as_rows, score_inputs, unit
from torch.nn import functional as F

from gss.ood import SCORES
from gss.ood.distances import largest_products, min_squared_distance


class TestMahalanobis(FittedChecks):
    name, tolerance = "mahalanobis", 2e-3

    def prepared(self, rows):
        return rows

    def reference(self, inputs):
        _, rows, labels, _ = self.survey
        x, h = self.prepared(rows), self.prepared(as_rows(inputs.features))
        means = torch.stack([x[labels == c].mean(0) for c in range(K)])
        centred = (x - means[labels]).numpy()
        covariance = centred.T @ centred / len(x)
        covariance += 1e-4 * np.trace(covariance) / D * np.eye(D)
        difference = (h[:, None] - means).numpy()
        squared = np.einsum("ncd,de,nce->nc", difference, np.linalg.inv(covariance), difference)
        return torch.from_numpy(squared.min(1))


class TestMahalanobisUnit(TestMahalanobis):
    name = "mahalanobis++"

    def prepared(self, rows):
        return unit(rows)

    def test_is_higher_on_unusual_inputs(self):
        _, rows, _, _ = self.survey
        known = rows[: 3 * 7 * 9].float().view(3, 7, 9, D).movedim(-1, 1)
        inputs, score = score_inputs(), self.build()
        usual = type(inputs)(inputs.logits, known, inputs.size)
        assert score(inputs).mean() > score(usual).mean()


class TestNearestNeighbors(TestMahalanobisUnit):
    name, tolerance = "knn", 1e-4

    def reference(self, inputs):
        bank = SCORES["knn"].fit(self.survey[0])["bank"]
        assert len(bank) <= 500 and torch.allclose(bank.norm(dim=1), torch.ones(len(bank)))
        distances = torch.cdist(unit(as_rows(inputs.features)), bank.double())
        return distances.topk(3, largest=False).values.mean(1)


class TestVirtualLogit(FittedChecks):
    name, tolerance = "vim", 2e-3

    def reference(self, inputs):
        survey, rows, _, logits = self.survey
        weight, bias = (part.double() for part in survey.classifier)
        origin = -torch.linalg.pinv(weight) @ bias
        centred = rows - origin
        residual = torch.linalg.eigh(centred.t() @ centred).eigenvectors[:, : D // 2]
        scale = float(SCORES["vim"].fit(survey)["scale"])
        expected_scale = float(logits.amax(1).double().mean() / (centred @ residual).norm(dim=1).mean())
        assert abs(scale / expected_scale - 1) < 0.1  # from a sample
        norm = ((as_rows(inputs.features) - origin) @ residual).norm(dim=1)
        return scale * norm - inputs.logits.movedim(1, -1).flatten(0, 2).double().logsumexp(1)


class TestOneGaussian(FittedChecks):
    name, tolerance = "ddu", 2e-3

    def reference(self, inputs):
        survey, rows, labels, _ = self.survey
        pooled, each = survey.covariance(within=True), []
        for c in range(K):
            x = rows[labels == c]
            n = len(x)
            covariance = n / (n + D) * torch.cov(x.t(), correction=0) + D / (n + D) * pooled
            covariance = covariance + 1e-4 * covariance.diagonal().mean() * torch.eye(D)
            normal = torch.distributions.MultivariateNormal(x.mean(0), covariance)
            each.append(normal.log_prob(as_rows(inputs.features)) + math.log(n / len(rows)))
        return -torch.stack(each, 1).logsumexp(1)


@pytest.mark.parametrize("points", [1, 2, 100, 250, 401])
def test_largest_products(points, monkeypatch):
    monkeypatch.setattr("gss.ood.distances.CACHED_BLOCK", 1000)
    rows, bank = F.normalize(torch.randn(37, 8), dim=1), F.normalize(torch.randn(points, 8), dim=1)
    bank[points // 2 :] = bank[points // 2]  # ties, also across groups
    expected = (rows @ bank.t()).topk(min(3, points), dim=1).values
    torch.testing.assert_close(largest_products(rows, bank, 3), expected)
    torch.testing.assert_close(largest_products(-bank[:1], bank[:1], 3), torch.full((1, 1), -1.0))
    assert largest_products(rows[:0], bank, 3).shape == (0, min(3, points))


def test_distances_in_blocks(monkeypatch):
    rows, points = 30 + torch.randn(50, 6), 30 + torch.randn(9, 6)
    monkeypatch.setattr("gss.ood.distances.BLOCK", 40)
    expected = torch.cdist(rows.double(), points.double()).square().amin(1)
    torch.testing.assert_close(min_squared_distance(rows, points).double(), expected, atol=1e-3, rtol=0)
