"""Covariance that is left in the sky: found where it is, and not where it is not."""

import numpy as np
import pytest
from scipy.ndimage import convolve
from tests.unit.subtraction.gaussians import gaussian_psf

from residua.subtraction.noise.residual_covariance import REACH, measure_covariance

SHAPE = (640, 670)


def measure(image, *, variance=1.0, sources=None, convolved="template"):
    model = np.zeros(SHAPE, np.float32) if sources is None else sources
    planes = image.astype(np.float32), np.full(SHAPE, variance, np.float32), model
    good = np.ones(SHAPE, bool)
    good[100:110, 200:260] = False
    return measure_covariance(
        *planes, good, gaussian_psf(1.9, SHAPE), convolved=convolved, sigma=1.0
    )


def white(seed):
    return np.random.default_rng(seed).normal(size=SHAPE)


@pytest.mark.parametrize("seed", range(6))
def test_white_noise_is_left_alone(seed):
    found = measure(white(seed))
    assert found.blocks > 250
    assert found.scale == pytest.approx(1.0, abs=0.01)
    assert abs(found.excess) < 4.0 * found.excess_error
    assert found.excess_error < 0.012


def test_correlation_is_that_of_the_smoothing():
    taps = np.array([0.1, 0.8, 0.1])
    taps /= np.sqrt(np.sum(taps**2))
    image = convolve(white(3), np.outer(taps, taps), mode="wrap")
    found = measure(image)
    lag1 = 2 * taps[0] * taps[1]
    assert found.significant
    assert found.scale == pytest.approx(1.0, abs=0.01)
    assert found.lag1 == pytest.approx(lag1, abs=0.01)
    expected = np.zeros(2 * REACH + 1)
    expected[REACH - 2 : REACH + 3] = [taps[0] ** 2, lag1, 1.0, lag1, taps[0] ** 2]
    error = found.covariance - np.outer(expected, expected)
    assert np.abs(error).max() < 0.03


@pytest.mark.parametrize("factor", [0.5, 1.3, 3.0])
def test_a_variance_wrong_by_a_factor_is_found(factor):
    found = measure(factor * white(4))
    assert found.scale == pytest.approx(factor, rel=0.01)
    assert found.significant
    assert found.lag1 == pytest.approx(0.0, abs=0.01)


def test_variance_and_correlation_that_hide_each_other_are_both_found():
    taps = np.array([0.15, 0.7, 0.15])
    taps /= np.sqrt(np.sum(taps**2))
    found = measure(0.85 * convolve(white(5), np.outer(taps, taps), mode="wrap"))
    assert found.significant
    assert found.scale == pytest.approx(0.85, rel=0.01)


def test_faint_sources_are_no_covariance():
    rng = np.random.default_rng(6)
    image = white(6)
    stamp = gaussian_psf(1.9, SHAPE).stamp(0, 0)
    for x, y in rng.integers(30, 600, (60, 2)):
        image[y - 20 : y + 21, x - 20 : x + 21] += rng.uniform(25, 200) * stamp
    found = measure(image)
    assert abs(found.excess) < 4.0 * found.excess_error
    assert found.scale == pytest.approx(1.0, abs=0.01)


def test_a_noisy_template_does_not_choose_its_own_calm():
    template = white(7).astype(np.float32)
    found = measure(-template.astype(float), sources=template, convolved="science")
    assert found.scale == pytest.approx(1.0, abs=0.015)


def test_an_image_without_sky_says_nothing():
    crowded = np.random.default_rng(8).uniform(0, 1e3, SHAPE).astype(np.float32)
    found = measure(white(8), sources=crowded)
    assert found.blocks == 0
    assert not found.significant
    assert found.scale == 1.0
