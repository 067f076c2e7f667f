"""What every metric of `gss.metrics` must do: a new metric's test states how it is made and fed."""

import pickle

import numpy as np
import pytest
import torch
from lockstep import Lockstep
from torchmetrics import MetricCollection

VOID = 255


class MetricChecks:
    """Base of the test class of a metric.

    Subclasses say how the metric is made and fed, and what NumPy makes of the same images.
    """

    tolerance = 1e-9

    def make(self, **options):
        """Return a new metric."""
        raise NotImplementedError

    def other(self):
        """Return a metric of the same class with other settings; None if there are no settings."""
        raise NotImplementedError

    def batches(self):
        """Return the arguments of several updates, on maps that are not square."""
        raise NotImplementedError

    def reference(self, batches):
        """Return by plain NumPy what `figures` takes from the result of `compute`."""
        raise NotImplementedError

    def figures(self, result):
        """Return the numbers of a result that `reference` knows as well."""
        return result

    def comparable(self, result):
        """Return what of a result must not depend on the order of the images."""
        return result

    def same(self, first, second):
        """Whether two results are equal, bit by bit."""
        return repr(self.comparable(first)) == repr(self.comparable(second))

    def fed(self, batches, **options):
        metric = self.make(**options)
        for batch in batches:
            metric.update(*batch)
        return metric

    def test_equals_the_reference(self):
        found = self.figures(self.fed(self.batches()).compute())
        assert found == pytest.approx(self.reference(self.batches()), abs=self.tolerance)

    def test_parts_add_up(self):
        batches = self.batches()
        whole, parts = self.fed(batches), [self.fed(batches[start::2]) for start in range(2)]
        parts[0].merge(parts[1])
        assert self.same(parts[0].compute(), whole.compute())
        other = self.other()
        if other is not None:
            with pytest.raises(ValueError, match="cannot merge"):
                parts[0].merge(other)

    def test_processes_add_up(self, monkeypatch):
        batches, lockstep = self.batches(), Lockstep()
        few = batches[:1]  # leaves the second process without any
        expected = [self.fed(part).compute() for part in (batches, few)]
        lockstep.stand_in(monkeypatch, "gss.metrics.base")

        def work(rank):
            found = []
            for part in (batches, few):
                metric = self.fed(part[rank::2])
                before = state_of(metric)
                found.append(metric.compute())
                assert equal(state_of(metric), before)  # `compute` leaves the counts of this process as they are
                metric.sum_across()
                assert self.same(metric.compute(), found[-1])
                metric.unsync()
                assert equal(state_of(metric), before)
            return found

        for found in lockstep.run(work):
            assert found is not None and all(self.same(a, b) for a, b in zip(found, expected, strict=True))

    def test_compute_of_one_process_alone(self, monkeypatch):
        batches, lockstep = self.batches(), Lockstep()
        expected = [self.fed(batches[rank::2]).compute() for rank in range(2)]
        lockstep.stand_in(monkeypatch, "gss.metrics.base")
        found = lockstep.run(lambda rank: self.fed(batches[rank::2], sync_on_compute=False).compute())
        assert all(self.same(a, b) for a, b in zip(found, expected, strict=True))

    def test_reset_starts_again(self):
        batches = self.batches()
        metric, fresh = self.fed(batches), self.make()
        metric.reset()
        assert equal(state_of(metric), state_of(fresh))
        for batch in batches:
            metric.update(*batch)
        assert self.same(metric.compute(), self.fed(batches).compute())

    def test_survives_pickle(self):
        batches = self.batches()
        metric = pickle.loads(pickle.dumps(self.fed(batches[:1])))
        for batch in batches[1:]:
            metric.update(*batch)
        assert self.same(metric.compute(), self.fed(batches).compute())

    def test_works_in_a_collection(self):
        batches = self.batches()
        members = {"first": self.make(), "second": self.make()}
        if self.other() is not None:
            members["other"] = self.other()
        collection = MetricCollection(members)
        alone = {name: pickle.loads(pickle.dumps(member)) for name, member in members.items()}
        for batch in batches:
            collection.update(*batch)
            for metric in alone.values():
                metric.update(*batch)
        collection.compute()  # shares states: of equal metrics only
        for name, metric in alone.items():
            assert self.same(collection[name].compute(), metric.compute()), name
        collection.reset()
        assert equal(state_of(collection["first"]), state_of(self.make()))

    def test_forward_is_about_the_batch_and_counts_it(self):
        batches = self.batches()
        metric = self.make()
        for batch in batches:
            assert self.same(metric(*batch), self.fed([batch]).compute())
        assert self.same(metric.compute(), self.fed(batches).compute())

    def test_states_are_integers_whatever_the_precision(self):
        metric = self.fed(self.batches())
        expected = metric.compute()
        for moved in (metric.half(), metric.to(torch.bfloat16), metric.double()):
            states = [
                item for state in state_of(moved).values() for item in (state if isinstance(state, list) else [state])
            ]
            assert not any(state.is_floating_point() for state in states)
            assert self.same(moved.compute(), expected)


def state_of(metric):
    return {
        name: [item.clone() for item in state] if isinstance(state, list) else state.clone()
        for name, state in metric.metric_state.items()
    }


def equal(first, second):
    """Whether two states are equal."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[name], second[name]) for name in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(equal, first, second))
    return torch.equal(first, second)


def label_batches(classes, count=3, size=(13, 22), batch=2, seed=0):
    """Predicted labels and truth with void, int64 `[B, H, W]`, connected regions; the last class never occurs."""
    rng = np.random.default_rng(seed)
    shape = (batch, *size)

    def regions():
        coarse = rng.integers(0, max(classes - 1, 1), (batch, -(-size[0] // 4), -(-size[1] // 4)))
        return np.kron(coarse, np.ones((1, 4, 4), np.int64))[:, : size[0], : size[1]]

    batches = []
    for _ in range(count):
        truth = regions()
        prediction = np.where(rng.random(shape) < 0.8, truth, regions())
        batches.append((prediction, np.where(rng.random(shape) < 0.1, VOID, truth)))
    return batches


def score_batches(count=3, size=(9, 14), batch=2, seed=0, scale=200.0):
    """Outlier scores in the hundreds, float32 `[B, H, W]`, and truth 0, 1 or 255."""
    rng = np.random.default_rng(seed)
    batches = []
    for _ in range(count):
        truth = rng.choice([0, 1, VOID], size=(batch, *size), p=[0.7, 0.2, 0.1]).astype(np.uint8)
        scores = (scale * (rng.normal(size=truth.shape) + (truth == 1))).round(0)
        batches.append((scores.astype(np.float32), truth))
    return batches
