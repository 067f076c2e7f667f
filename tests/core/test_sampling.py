import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lockstep import Lockstep

from gss.core.sampling import (
    balanced_sample,
    balanced_sample_across,
    max_across,
    random_keys,
    smallest,
    smallest_across,
)


def test_keys_follow_from_the_seeds():
    keys = random_keys(1000, 3, 7)
    assert torch.equal(keys, random_keys(1000, 3, 7)) and keys.dtype == torch.float64
    assert not torch.equal(keys, random_keys(1000, 7, 3))
    assert keys.min() > 0 and keys.max() < 1 and abs(float(keys.mean()) - 0.5) < 0.05
    assert random_keys(0, 1).shape == (0,)


@given(st.lists(st.integers(0, 5), max_size=60), st.integers(1, 9))
def test_balanced_sample_takes_what_there_is(values, per_class):
    classes = torch.tensor(values, dtype=torch.long)
    classes[classes == 5] = 255
    keys = random_keys(len(classes), len(values))
    chosen = balanced_sample(classes, per_class, 5, keys)
    assert len(chosen.unique()) == len(chosen)
    counts = torch.bincount(classes[classes < 5], minlength=5)
    assert torch.equal(torch.bincount(classes[chosen], minlength=5), counts.clamp(max=per_class))

    left = torch.ones(len(classes), dtype=torch.bool)
    left[chosen] = False
    for c in range(5):
        inside, outside = keys[chosen][classes[chosen] == c], keys[left & (classes == c)]
        assert len(outside) == 0 or inside.max() < outside.min()


def test_smallest():
    values, rows = torch.tensor([3.0, 1.0, 2.0]), torch.arange(6.0).view(3, 2)
    found, those = smallest(values, rows, 2)
    assert found.tolist() == [1.0, 2.0] and those.tolist() == [[2, 3], [4, 5]]
    assert smallest(values, rows, 9)[0].tolist() == [1.0, 2.0, 3.0]
    assert smallest(values[:0], rows[:0], 2)[1].shape == (0, 2)


@pytest.mark.parametrize("cut", [0, 25, 60])
def test_several_processes_choose_what_one_does(cut, monkeypatch):
    classes, keys, rows = torch.randint(0, 4, (60,)), random_keys(60, 0), torch.randn(60, 3)
    classes[classes == 3] = 255
    expected = balanced_sample(classes, 7, 4, keys)
    lockstep = Lockstep()
    monkeypatch.setattr("gss.core.sampling.distributed", lockstep)

    def work(rank):
        part = slice(cut, None) if rank else slice(0, cut)
        own = balanced_sample_across(classes[part], 7, 4, keys[part]) + rank * cut
        return own, smallest_across(keys[part], rows[part], 5), max_across(rows[:2] + rank)

    (first, found, top), (second, again, _) = lockstep.run(work)
    assert torch.equal(torch.cat([first, second]).sort().values, expected.sort().values)
    for one, two, alone in zip(found, again, smallest(keys, rows, 5), strict=True):
        assert torch.equal(one, two) and torch.equal(one, alone)
    assert torch.equal(top, rows[:2] + 1)
