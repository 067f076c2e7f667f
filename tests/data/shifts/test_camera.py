"""Effects of light, color, sensor, lens and compression."""

import math

import numpy as np
import pytest
from shift_checks import ShiftChecks, shifted, textured


class TestBrightness(ShiftChecks):
    shift = "brightness"
    keeps_black_and_white = True


class TestGamma(ShiftChecks):
    shift = "gamma"
    keeps_black_and_white = True


class TestSaturation(ShiftChecks):
    shift = "saturation"
    keeps_black_and_white = True


class TestDefocusBlur(ShiftChecks):
    shift = "defocus_blur"
    keeps_black_and_white = True
    scales = True


class TestMotionBlur(ShiftChecks):
    shift = "motion_blur"
    keeps_black_and_white = True
    scales = True
    random = True


class TestPixelate(ShiftChecks):
    shift = "pixelate"
    keeps_black_and_white = True


class TestDarkness(ShiftChecks):
    shift = "darkness"


class TestContrast(ShiftChecks):
    shift = "contrast"


class TestWhiteBalance(ShiftChecks):
    shift = "white_balance"
    random = True


class TestGaussianNoise(ShiftChecks):
    shift = "gaussian_noise"
    random = True


class TestShotNoise(ShiftChecks):
    shift = "shot_noise"
    random = True


class TestJPEG(ShiftChecks):
    shift = "jpeg"


def test_brightness_and_darkness_are_stops_of_light():
    ramp = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    light = (ramp / 255) ** 2.2
    for shift, stops in (("brightness", 1.7), ("darkness", -2.1)):
        expected = (light * 2**stops).clip(0, 1) ** (1 / 2.2) * 255
        assert np.abs(shifted(ramp, shift, 3) - expected).max() <= 0.51
    assert shifted(textured(), "saturation", 5).std(axis=2).max() == 0


def test_noise_has_the_stated_size():
    grey = np.full((200, 300, 3), 128, np.uint8)
    assert np.std(shifted(grey, "gaussian_noise", 3) / 255) == pytest.approx(0.11, rel=0.02)
    photons = 22 * 128 / 255
    assert np.std(shifted(grey, "shot_noise", 3) / 255) == pytest.approx(math.sqrt(photons) / 22, rel=0.03)


def test_noise_keeps_black_dark_and_white_bright():
    for shift in ("gaussian_noise", "shot_noise"):
        white, black = (shifted(np.full((40, 60, 3), value, np.uint8), shift, 5) for value in (255, 0))
        assert white.mean() > 200 and black.mean() < 50
