import numpy as np
import pytest
from scipy import ndimage

from residua.storage.conventions.noise import check_noise

SHAPE = (300, 320)
GOOD = np.ones(SHAPE, bool)


@pytest.fixture
def noise():
    return np.random.default_rng(2).normal(0.0, 3.0, SHAPE)


@pytest.mark.parametrize("factor", [1.0, 4.0, 0.25])
def test_the_ratio_is_measured_over_predicted_variance(noise, factor):
    found = check_noise(noise, np.full(SHAPE, 9.0 * factor), GOOD)
    assert found.ratio == pytest.approx(1.0 / factor, rel=0.05)
    assert found.measured == pytest.approx(3.0, rel=0.03)
    assert found.predicted == pytest.approx(3.0 * np.sqrt(factor))
    assert found.believed == (factor == 1.0)


def test_a_slope_and_stars_are_no_noise(noise):
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    image = noise + 0.5 * x + 0.3 * y
    image[::40, ::40] += 1e4
    assert check_noise(image, np.full(SHAPE, 9.0), GOOD).ratio == pytest.approx(1.0, rel=0.1)


def test_correlated_noise_is_not_taken_for_too_little(noise):
    smooth = ndimage.uniform_filter(noise, 2)
    assert check_noise(smooth, np.full(SHAPE, 9.0), GOOD).believed


def test_too_few_pixels_tell_nothing():
    few = np.zeros(SHAPE, bool)
    few[:10, :10] = True
    found = check_noise(np.zeros(SHAPE), np.ones(SHAPE), few)
    assert np.isnan(found.ratio)
    assert found.believed
