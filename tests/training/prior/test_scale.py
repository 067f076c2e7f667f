"""The scale of training images, measured."""

import numpy as np
from PIL import Image

from gss.pipeline.scale import TrainScale
from gss.training.prior.scale import measure_scale


class Toys:
    """Images of given sizes with one square each."""

    def __init__(self, sizes, side=20, label=1):
        self.sizes, self.side, self.label = sizes, side, label

    def __len__(self):
        return len(self.sizes)

    def read(self, index):
        labels = np.full(self.sizes[index], 255, np.uint8)
        labels[: self.side, : self.side] = self.label
        return Image.new("RGB", labels.shape[::-1]), labels


def test_sides_and_regions():
    assert measure_scale(Toys([(30, 40), (60, 50), (40, 90)])) == TrainScale(40, 31, 49, 400)


def test_specks_and_void_are_no_objects():
    assert measure_scale(Toys([(30, 40)], side=3)).object_pixels is None
    assert measure_scale(Toys([(30, 40)], label=255)).object_pixels is None


def test_at_most_some_images_are_read():
    toys = Toys([(30, 40)] * 1000)
    read, toys.read = toys.read, lambda index: reads.append(index) or read(index)
    reads: list[int] = []
    measure_scale(toys, images=5)
    assert len(reads) == 5 and reads[0] == 0 and reads[-1] > 700
