import numpy as np
import pytest
from tests.unit.subtraction.gaussians import gaussian_kernel

from residua.subtraction.detect.trust.quality_measures import (
    input_autocorrelation,
    kernel_sums,
    sky_statistics,
    star_peaks,
)
from residua.subtraction.images import (
    MatchingKernel,
    SpatialPolynomial,
)

SHAPE = (120, 130)


def test_sky_statistics_of_white_noise():
    rng = np.random.default_rng(6)
    shape = (600, 700)
    variance = rng.uniform(1.0, 4.0, shape).astype(np.float32)
    noise = (rng.normal(0.0, 1.0, shape) * np.sqrt(variance)).astype(np.float32)
    model = np.zeros(shape, np.float32)
    model[:50] = 100.0
    noise[:50] *= 2.0
    good = np.ones(shape, bool)
    good[100, :], noise[100, :] = False, 1e6
    sky = sky_statistics(noise, variance, noise / np.sqrt(variance), model, good, 1.5)
    assert sky.pull_rms == pytest.approx(1.0, abs=0.01)
    assert sky.matched_filter_sn_std == pytest.approx(1.0, abs=0.01)
    assert sky.lag1_autocorrelation == pytest.approx(0.0, abs=0.01)
    assert sky.bright_pull_rms == pytest.approx(2.0, abs=0.05)
    assert sky.sky_pixels == pytest.approx(549 * 700, rel=0.02)


def test_sky_statistics_see_correlated_noise():
    rng = np.random.default_rng(7)
    white = rng.normal(0.0, 1.0, (500, 601))
    noise = ((white[:, 1:] + white[:, :-1]) / np.sqrt(2.0)).astype(np.float32)
    ones, zeros = np.ones(noise.shape, np.float32), np.zeros(noise.shape, np.float32)
    sky = sky_statistics(noise, ones, noise, zeros, np.ones(noise.shape, bool), 1.0)
    assert sky.lag1_autocorrelation == pytest.approx(0.25, abs=0.01)  # 0.5 in x, 0 in y


def test_correlated_input_is_reported_whatever_the_background():
    rng = np.random.default_rng(8)
    white = rng.normal(0.0, 1.0, (400, 401))
    slope = np.linspace(-0.5, 0.5, 400)[:, None]
    zeros, good = np.zeros((400, 400), np.float32), np.ones((400, 400), bool)
    correlated = (white[:, 1:] + white[:, :-1]) / np.sqrt(2.0) + slope
    for noise, expected in ((white[:, 1:] + slope, 0.0), (correlated, 0.25)):
        measured = input_autocorrelation(noise.astype(np.float32), zeros, good, 1.0)
        assert measured == pytest.approx(expected, abs=0.01)
    assert np.isnan(input_autocorrelation(zeros, zeros + 100, good, 1.0))


def test_peaks_on_stars_are_counted():
    model = np.zeros(SHAPE, np.float32)
    model[50, 50] = 100.0
    at = np.array([52, 90]), np.array([48, 90])
    assert star_peaks(model, *at, 1.0) == 0.5
    assert np.isnan(star_peaks(model, at[0][:0], at[1][:0], 1.0))


def test_kernel_sum_and_its_variation():
    constant, linear = SpatialPolynomial(SHAPE, 0), SpatialPolynomial(SHAPE, 1)
    varying = MatchingKernel(
        gaussian_kernel(SHAPE).basis, np.array([[0.9, 0.09, 0.0]]), linear, np.zeros(1), constant
    )
    centre, variation = kernel_sums(varying)
    assert centre == pytest.approx(0.9)
    assert variation == pytest.approx(0.2, rel=0.02)
