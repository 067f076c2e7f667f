"""Sampler and loader: order from (seed, epoch), exact entry in mid-epoch, workers without influence."""

import numpy as np
import pytest
import torch
from PIL import Image

from gss.data.datasets import make_item
from gss.data.loader import SeededSampler, build_loader, collate
from gss.data.transforms import JointTransform


class Noise(torch.utils.data.Dataset):
    """Ten random pictures behind the real transform."""

    def __init__(self, sizes=((24, 30),)):
        self.epoch, self.sizes = 0, sizes

    def __len__(self):
        return 10

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        size = self.sizes[index % len(self.sizes)]
        image = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        labels = rng.integers(0, 4, size, dtype=np.uint8)
        transform = JointTransform((16, 20)) if len(self.sizes) == 1 else None
        return make_item(image, labels, id=f"n{index}", index=index, epoch=self.epoch, transform=transform)


def test_order_is_a_permutation_that_depends_on_seed_and_epoch():
    sampler = SeededSampler(50, seed=3)
    first = list(sampler)
    assert sorted(first) == list(range(50))
    assert first == list(SeededSampler(50, seed=3))
    assert first != list(SeededSampler(50, seed=4))
    sampler.set_epoch(1)
    assert list(sampler) != first
    sampler.set_epoch(0, start=20)
    assert list(sampler) == first[20:]
    assert len(sampler) == 30
    assert list(SeededSampler(5, seed=0, shuffle=False)) == [0, 1, 2, 3, 4]


def test_bad_start():
    with pytest.raises(ValueError, match="positions 0 to 5"):
        SeededSampler(5, 0).set_epoch(0, start=6)
    with pytest.raises(ValueError, match="length"):
        SeededSampler(-1, 0)


def read(loader, epoch, start=0):
    loader.sampler.set_epoch(epoch, start)
    loader.dataset.set_epoch(epoch)
    return list(loader)


def equal(left, right):
    return left["id"] == right["id"] and all(
        torch.equal(left[key], right[key]) for key in ("image", "labels", "filled", "index")
    )


def test_entering_an_epoch_in_the_middle_gives_the_same_batches():
    loader = build_loader(Noise(), batch_size=3, train=True, seed=1, workers=0)
    whole = read(loader, epoch=2)
    assert len(whole) == 3  # the tenth sample is dropped
    torch.rand(9)
    resumed = build_loader(Noise(), batch_size=3, train=True, seed=1, workers=0)
    rest = read(resumed, epoch=2, start=3)
    assert all(map(equal, whole[1:], rest))
    assert not equal(whole[0], read(loader, epoch=3)[0])


def test_workers_change_nothing():
    alone = build_loader(Noise(), batch_size=4, train=True, seed=1, workers=0)
    helped = build_loader(Noise(), batch_size=4, train=True, seed=1, workers=2)
    for epoch in (0, 1):
        assert all(map(equal, read(alone, epoch), read(helped, epoch)))


def test_loading_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    read(build_loader(Noise(), batch_size=2, train=True, seed=0, workers=0), epoch=0)
    assert torch.equal(before, torch.get_rng_state())


def test_evaluation_keeps_order_and_every_sample():
    batches = list(build_loader(Noise(), batch_size=4, train=False, seed=0, workers=0))
    assert [id for batch in batches for id in batch["id"]] == [f"n{i}" for i in range(10)]
    assert batches[0]["image"].dtype == torch.float32
    assert batches[0]["labels"].dtype == batches[0]["filled"].dtype == torch.int64


def test_mixed_sizes_are_named():
    data = Noise(sizes=((8, 9), (8, 10)))
    with pytest.raises(ValueError, match=r"n0 \(8, 9\), n1 \(8, 10\).*batch size 1"):
        collate([data[0], data[1]])
    assert len(list(build_loader(data, batch_size=1, train=False, seed=0, workers=0))) == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 11}, "10 samples"),
        ({"workers": -1}, "workers"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_loader(Noise(), **{"batch_size": 2, "train": True, "seed": 0, "workers": 0, **arguments})
