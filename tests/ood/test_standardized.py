"""The standardized max-logit."""

import dataclasses

import torch
from ood_toys import K
from score_checks import FittedChecks

from gss.ood import SCORES
from gss.ood.standardized import smooth, suppress_boundaries


class TestStandardizedMaxLogit(FittedChecks):
    name, full_size = "sml", True

    def unusual(self, inputs):
        return dataclasses.replace(inputs, logits=inputs.logits / 10, computed={})

    def test_statistics_are_those_of_the_predicted_class(self):
        survey, _, _, logits = self.survey
        tensors = SCORES["sml"].fit(survey)
        largest, predicted = logits.max(1)
        for c in range(K):
            of_class = largest[predicted == c]
            assert tensors["mean"][c].isclose(of_class.mean(), atol=1e-4)
            assert tensors["deviation"][c].isclose(of_class.std(correction=0), atol=1e-4)


def test_boundaries_take_the_scores_around_them():
    flat = torch.full((1, 40, 50), 2.5)
    assert torch.allclose(smooth(flat), flat)
    predicted = torch.zeros(1, 40, 50, dtype=torch.long)
    predicted[:, :, 25:] = 1
    score = torch.where(predicted == 0, 1.0, 2.0)
    score[:, :, 23:27] = 50.0  # small logits along the boundary
    clean = suppress_boundaries(score, predicted)
    assert clean.max() < 10 and torch.equal(clean[:, :, :20], score[:, :, :20])
    single = torch.randn(1, 12, 13)
    assert torch.equal(suppress_boundaries(single, torch.zeros(1, 12, 13, dtype=torch.long)), single)
