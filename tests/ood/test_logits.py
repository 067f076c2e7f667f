"""Scores of the class logits."""

from score_checks import LogitChecks


class TestMaxSoftmax(LogitChecks):
    name = "msp"

    def reference(self, inputs):
        return 1 - inputs.logits.double().softmax(1).amax(1)


class TestMaxLogit(LogitChecks):
    name = "max_logit"

    def reference(self, inputs):
        return -inputs.logits.double().amax(1)


class TestEnergy(LogitChecks):
    name = "energy"

    def reference(self, inputs):
        return -inputs.logits.double().exp().sum(1).log()


class TestEntropy(LogitChecks):
    name = "entropy"

    def reference(self, inputs):
        p = inputs.logits.double().softmax(1)
        return -(p * p.log()).sum(1) / inputs.logits.new_tensor(p.shape[1]).double().log()
