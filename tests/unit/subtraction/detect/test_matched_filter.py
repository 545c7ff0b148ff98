"""The matched filter against direct float64 sums with the local PSF."""

import numpy as np
import pytest

from residua.subtraction.detect.matched_filter import matched_filter
from residua.subtraction.images import PsfModel, SpatialPolynomial

SHAPE = (200, 230)


def gauss(sigma, half=15, dx=0.0, dy=0.0):
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    g = np.exp(-0.5 * ((x - dx) ** 2 + (y - dy) ** 2) / sigma**2)
    return g / g.sum()


def varying_psf(shape):
    polynomial = SpatialPolynomial(shape, 1)
    asymmetric = 0.8 * gauss(2.0) + 0.2 * gauss(2.5, dx=2.0, dy=1.0)
    change = 0.1 * (gauss(2.4) - gauss(2.0))
    return PsfModel(np.array([asymmetric, change, -change]), polynomial)


def direct(image, variance, good, psf, x, y, half):
    stamp = psf.stamp(x, y)[15 - half : 16 + half, 15 - half : 16 + half]
    rows, columns = slice(y - half, y + half + 1), slice(x - half, x + half + 1)
    weight = np.where(good[rows, columns], stamp, 0.0)
    data = np.where(good, image, 0.0)[rows, columns]
    noise = np.where(good, variance, 0.0)[rows, columns]
    norm = np.sum(weight * stamp)
    return np.sum(weight * data) / norm, np.sqrt(np.sum(weight**2 * noise)) / norm


def test_flux_and_error_are_those_of_the_fit():
    rng = np.random.default_rng(6)
    image = rng.normal(0, 2, SHAPE).astype(np.float32)
    variance = (3 + rng.random(SHAPE)).astype(np.float32)
    good = rng.random(SHAPE) > 0.03
    image[~good], variance[~good] = np.nan, 0.0
    psf = varying_psf(SHAPE)
    found = matched_filter(image, variance, good, psf)
    for x, y in zip(rng.integers(20, 210, 60), rng.integers(20, 180, 60), strict=True):
        flux, error = direct(image, variance, good, psf, x, y, 12)
        assert found.flux_error[y, x] == pytest.approx(error, rel=5e-3)
        snr = found.signal_to_noise[y, x]
        assert snr == pytest.approx(flux / error, abs=0.03)


@pytest.mark.parametrize("electrons", [200.0, 2000.0])
def test_a_pixels_own_noise_in_its_variance_does_not_shift_the_sky(electrons):
    # Weights of one over the variance would shift the mean S/N by sqrt(area / electrons).
    shape = (512, 512)
    rng = np.random.default_rng(11)
    noise = rng.normal(0.0, 10.0, shape).astype(np.float32)
    exact = np.full(shape, 100.0, np.float32)
    noisy = exact * np.maximum(1.0 + noise / (10.0 * np.float32(np.sqrt(electrons))), 0.02)
    good = rng.random(shape) > 0.02
    psf = PsfModel(gauss(2.0)[None], SpatialPolynomial(shape, 0))
    told, own = (matched_filter(noise, v, good, psf).signal_to_noise for v in (exact, noisy))
    area = 1.0 / np.sum(gauss(2.0) ** 2)
    assert np.sqrt(area / electrons) > 0.15
    assert abs(np.nanmean(own) - np.nanmean(told)) < 0.01
    assert np.nanstd(own) == pytest.approx(np.nanstd(told), rel=0.005)


@pytest.mark.parametrize("position", [(40, 50), (180, 150), (115, 100)])
def test_flux_of_a_star_is_unbiased(position):
    x, y = position
    psf = varying_psf(SHAPE)
    image = np.zeros(SHAPE, np.float32)
    image[y - 15 : y + 16, x - 15 : x + 16] = 1000.0 * psf.stamp(x, y)
    found = matched_filter(image, np.ones(SHAPE, np.float32), np.ones(SHAPE, bool), psf)
    flux = found.signal_to_noise * found.flux_error
    assert flux[y, x] == pytest.approx(1000.0, rel=3e-3)


def test_positions_without_half_the_weight_are_nan():
    rng = np.random.default_rng(6)
    image = rng.normal(0, 1, SHAPE).astype(np.float32)
    variance = np.ones(SHAPE, np.float32)
    good = np.ones(SHAPE, bool)
    good[:, 100:140] = False
    psf = PsfModel(gauss(2.0)[None], SpatialPolynomial(SHAPE, 0))
    found = matched_filter(image, variance, good, psf)
    lost = np.isnan(found.signal_to_noise)
    assert lost[50, 100:140].all()
    assert not lost[50, :98].any()
    assert not lost[50, 142:].any()
    assert lost[50, 101]
    np.testing.assert_array_equal(lost, np.isnan(found.flux_error))


def test_same_bits_on_any_number_of_threads():
    rng = np.random.default_rng(6)
    image = rng.normal(0, 1, SHAPE).astype(np.float32)
    variance = (1 + rng.random(SHAPE)).astype(np.float32)
    good = rng.random(SHAPE) > 0.02
    results = [
        matched_filter(image, variance, good, varying_psf(SHAPE), threads=n) for n in (1, 2, 3)
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(other.signal_to_noise, results[0].signal_to_noise)
        np.testing.assert_array_equal(other.flux_error, results[0].flux_error)
