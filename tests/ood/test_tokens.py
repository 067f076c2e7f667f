"""Scores of the tokens and of the classes painted by them."""

import dataclasses
import math

from score_checks import ScoreChecks, TokenChecks, V, score_inputs
from torch.nn import functional as F


class TestTokenEntropy(TokenChecks):
    name = "token_entropy"

    def reference(self, inputs):
        p = inputs.token_logits.double().softmax(1)
        return -(p * p.log()).sum(1) / math.log(V)


class TestTokenSurprise(TokenChecks):
    name = "token_nll"

    def reference(self, inputs):
        return -inputs.token_logits.double().softmax(1).amax(1).log()


class TestDisagreement(ScoreChecks):
    name, full_size = "disagreement", True

    def parts(self):
        return {"tokens": True}

    def classes(self, inputs):
        return F.interpolate(inputs.logits, size=inputs.size, mode="bilinear").softmax(1)

    def unusual(self, inputs):
        return dataclasses.replace(inputs, decoded=self.classes(inputs).roll(1, dims=1), computed={})

    def reference(self, inputs):
        aux, decoded = self.classes(inputs).double(), inputs.decoded.double()
        mean = (aux + decoded) / 2
        return ((aux * (aux / mean).log()).sum(1) + (decoded * (decoded / mean).log()).sum(1)) / 2

    def test_is_zero_where_both_agree(self):
        inputs = score_inputs()
        same = dataclasses.replace(inputs, decoded=self.classes(inputs))
        assert self.build()(same).abs().max() < 1e-6
