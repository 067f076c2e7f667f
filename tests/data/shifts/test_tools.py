"""Kernels, convolution, noise and particles of the shifts."""

import math

import numpy as np
import pytest
from shift_checks import textured

from gss.data.shifts.tools import clouds, convolve, disk, line, particles


@pytest.mark.parametrize("kernel", [disk(0.4), disk(2.3), line(9.0, 0.7), line(1.0, 0.0)])
def test_convolution_equals_the_direct_sum(kernel):
    assert kernel.sum() == pytest.approx(1, abs=1e-6) and kernel.shape[0] == kernel.shape[1]
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-6)
    image = textured(9, 5).astype(np.float32) / 255
    reach = kernel.shape[0] // 2
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric").astype(float)
    expected = np.zeros(image.shape)
    for dy in range(kernel.shape[0]):
        for dx in range(kernel.shape[1]):
            expected += kernel[::-1, ::-1][dy, dx] * padded[dy : dy + 9, dx : dx + 5]
    np.testing.assert_allclose(convolve(image, kernel), expected, atol=1e-5)
    np.testing.assert_allclose(convolve(image[..., 0], kernel), expected[..., 0], atol=1e-5)


def test_small_kernels():
    assert (disk(0.3) == disk(0.3).max()).sum() == 1 and disk(0.3).max() == 1  # no blur at all
    assert line(8.0, 0.0).sum(axis=1).argmax() == line(8.0, 0.0).shape[0] // 2
    assert np.count_nonzero(line(8.0, math.pi / 2).sum(axis=0) > 1e-6) == 1


def test_layers():
    field = clouds(np.random.default_rng(0), (60, 90))
    assert field.shape == (60, 90) and field.min() >= 0 and field.max() <= 1 and np.ptp(field) > 0.3
    few, many = (
        particles(np.random.default_rng(1), (104, 104), count=count, most=200, kernel=disk(2.0)) for count in (50, 150)
    )
    assert (many >= few - 1e-5).all() and many.sum() > 2 * few.sum()
