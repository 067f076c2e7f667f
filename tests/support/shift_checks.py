"""The checks that every shift passes: a new one needs a subclass with its name, and checks of what it alone does."""

import math

import numpy as np
from PIL import Image

from gss.data.shifts.apply import SEVERITIES, apply_shift, shift_generator


def textured(height=96, width=131, seed=0):
    """Colourful smooth areas with grain, like a photograph with most tones in use."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(20, 236, (7, 9, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    return (smooth + rng.normal(0, 12, smooth.shape)).clip(0, 255).astype(np.uint8)


def psnr(image, other):
    error = np.mean((image.astype(float) - other.astype(float)) ** 2)
    return 10 * math.log10(255**2 / error) if error else math.inf


def shifted(image, shift, severity, id="a", seed=0):
    return apply_shift(image, shift, severity, shift_generator(seed, shift, id))


class ShiftChecks:
    """Checks of one shift.

    Attributes:
        shift: its name.
        random: whether image and seed choose what is drawn.
        scales: whether the effect looks alike at every size of the image.
        keeps_black_and_white: whether black stays black and white stays white.
    """

    shift: str
    random = False
    scales = False
    keeps_black_and_white = False

    def test_severity_grows(self):
        for seed in range(3):
            image = textured(seed=seed)
            ratios = [psnr(image, shifted(image, self.shift, severity, seed=seed)) for severity in SEVERITIES]
            assert all(worse < better for better, worse in zip(ratios[:-1], ratios[1:], strict=True)), ratios
            assert 6 < ratios[2] < 34  # changed, and still the same picture
            grey, change = (x.mean(axis=2).ravel() for x in (image, shifted(image, self.shift, 3, seed=seed)))
            assert np.corrcoef(grey, change)[0, 1] > 0.5

    def test_any_size_and_no_writing(self):
        for height, width in ((1, 1), (1, 40), (57, 1), (3, 2), (17, 90)):
            image = textured(height, width)
            image.setflags(write=False)
            for severity in (1, 5):
                result = shifted(image, self.shift, severity)
                assert result.dtype == np.uint8 and result.shape == image.shape
                assert not np.shares_memory(result, image)

    def test_white_and_black_do_not_wrap_round(self):
        white, black = (shifted(np.full((40, 60, 3), value, np.uint8), self.shift, 5) for value in (255, 0))
        assert white.mean() >= black.mean()
        if self.keeps_black_and_white:
            assert white.min() == 255 and black.max() == 0

    def test_seed_and_image_choose_the_draw(self):
        image = textured()
        first = shifted(image, self.shift, 3)
        np.testing.assert_array_equal(first, shifted(image, self.shift, 3))
        if self.random:
            assert (first != shifted(image, self.shift, 3, id="b")).any()
            assert (first != shifted(image, self.shift, 3, seed=1)).any()

    def test_looks_alike_at_every_size(self):
        """An image of twice the size, shifted and then reduced, is nearly the shifted small image."""
        if self.scales:
            large = np.asarray(Image.fromarray(textured(120, 160)).resize((320, 240), Image.Resampling.BICUBIC))
            small = np.asarray(Image.fromarray(large).resize((160, 120), Image.Resampling.BOX))
            expected = shifted(small, self.shift, 4)
            reduced = Image.fromarray(shifted(large, self.shift, 4)).resize((160, 120), Image.Resampling.BOX)
            assert psnr(np.asarray(reduced), expected) > psnr(small, expected) + 8
