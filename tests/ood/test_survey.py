"""Statistics of one pass over the training data."""

import math

import pytest
import torch
from ood_toys import D, K

from gss.ood.survey import Survey


def test_survey_sample_is_even_over_images():
    survey = Survey(1, 2, pixels_per_class=100, pixels_per_image=60)
    for i in range(40):
        survey.add(
            torch.full((2, 8, 10), float(i)) + torch.rand(2, 8, 10) / 9,
            torch.zeros(1, 8, 10),
            torch.zeros(8, 10).long(),
            seeds=(i,),
        )
    survey.finish()
    sample = survey.sample["features"][:, 0].long()
    assert len(sample) == 100 and len(sample.unique()) > 25
    assert survey.count.tolist() == [3200]


def test_survey_names_what_is_wrong():
    survey = Survey(K, D)
    features, logits, labels = torch.randn(D, 6, 7), torch.randn(K, 6, 7), torch.zeros(6, 7, dtype=torch.long)
    bad = features.clone()
    bad[3, 2, 5] = math.nan
    with pytest.raises(
        ValueError, match="features of image street_7 are not finite at 1 of 42 cells, first at row 2, column 5"
    ):
        survey.add(bad, logits, labels, seeds=(0,), name="street_7")
    survey.add(features, logits, torch.full((6, 7), 255), seeds=(0,), name="void")
    with pytest.raises(ValueError, match="no pixel of the training images has a label"):
        survey.finish()
    constant = Survey(K, D)
    constant.add(torch.full((D, 6, 7), 0.3), logits, labels, seeds=(0,))
    with pytest.raises(ValueError, match="features are constant over 42 pixels"):
        constant.finish()
