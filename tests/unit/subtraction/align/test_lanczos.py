"""Weights, their polynomials, and the noise power against a brute-force warp of noise."""

import numpy as np
import pytest

from residua.subtraction.align.lanczos import (
    lanczos3,
    lanczos3_weights,
    norm_polynomial,
    phase_covariance,
    power_spectrum,
    warp_covariance,
    weight_polynomial,
)


def evaluate(polynomial, fraction):
    return (fraction - 0.5)[:, None] ** np.arange(len(polynomial)) @ polynomial


def test_weights_are_normalised_lanczos():
    fraction = np.linspace(0, 0.999, 50)
    weights = lanczos3_weights(fraction)
    raw = lanczos3(fraction[:, None] - np.arange(-2, 4))
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(weights, raw / raw.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(lanczos3_weights(0.0), [0, 0, 1, 0, 0, 0], atol=1e-12)


def test_polynomials_follow_the_weights():
    fraction = np.linspace(0, 1, 301)
    weights = lanczos3_weights(fraction)
    assert np.abs(evaluate(weight_polynomial(), fraction) - weights).max() < 3e-7
    norms = np.sum(weights[:, 1:5] ** 2, axis=1, keepdims=True) ** -0.5
    assert np.abs(evaluate(norm_polynomial(), fraction) - norms).max() < 2e-4


def warp_noise(jacobian, shift, size=500):
    """Warp of white noise by direct sums, with the template positions."""
    noise = np.random.default_rng(5).normal(size=(900, 900))
    y, x = np.mgrid[0:size, 0:size] - 0.5 * size
    px = shift[0] + jacobian[0, 0] * x + jacobian[0, 1] * y
    py = shift[1] + jacobian[1, 0] * x + jacobian[1, 1] * y
    ix, iy = np.floor(px).astype(int), np.floor(py).astype(int)
    wx, wy = lanczos3_weights(px - ix), lanczos3_weights(py - iy)
    warped = sum(
        wy[..., j] * wx[..., i] * noise[iy + j - 2, ix + i - 2] for j in range(6) for i in range(6)
    )
    return warped, px, py


def check(covariance, warped):
    centre = covariance.shape[0] // 2
    size = warped.shape[0]
    for dy, dx in [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0)]:
        measured = np.mean(warped[: size - dy, : size - dx] * warped[dy:, dx:])
        assert covariance[centre + dy, centre + dx] == pytest.approx(measured, abs=0.012)


def rotation(angle, scale):
    c, s = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    return np.array([[c, -s], [s, c]])


@pytest.mark.parametrize(("angle", "scale"), [(5.0, 1.0), (30.0, 1.0), (75.0, 0.8)])
def test_covariance_of_warped_white_noise(angle, scale):
    jacobian = rotation(angle, scale)
    covariance = warp_covariance(jacobian, 9)
    assert covariance[9, 9] == pytest.approx(0.798, abs=0.001)
    check(covariance, warp_noise(jacobian, (450.123, 450.456))[0])


@pytest.mark.parametrize("shift", [(450.0, 450.0), (450.5, 450.5), (450.3, 450.8)])
@pytest.mark.parametrize("angle", [0.02, 90.01, 180.0])
def test_covariance_when_the_phases_hardly_change(angle, shift):
    jacobian = rotation(angle, 1.0001)
    warped, px, py = warp_noise(jacobian, shift)
    check(phase_covariance(px, py, jacobian, 9), warped)


def test_coinciding_grids_leave_noise_white():
    covariance = phase_covariance([5.0, 6.0], [7.0, 8.0], np.eye(2), 8)
    expected = np.zeros((17, 17))
    expected[8, 8] = 1.0
    np.testing.assert_allclose(covariance, expected, atol=1e-12)


def test_power_is_the_transform_of_the_covariance():
    covariance = warp_covariance(rotation(30.0, 1.0), 9)
    power = power_spectrum(covariance, 32)
    lag = np.arange(-9, 10)
    for ky, kx in [(0, 0), (3, 5), (16, 2)]:
        phase = 2 * np.pi * (ky * lag[:, None] + kx * lag[None, :]) / 32
        assert power[ky, kx] == pytest.approx(np.sum(covariance * np.cos(phase)), abs=1e-10)
    assert (power >= 0).all()


def test_written_polynomials_are_the_fit():
    fraction = 0.5 + 0.5 * np.cos(np.pi * (np.arange(200) + 0.5) / 200)
    weights = lanczos3_weights(fraction)
    norms = np.sum(weights[:, 1:5] ** 2, axis=1, keepdims=True) ** -0.5
    for values, written in ((weights, weight_polynomial()), (norms, norm_polynomial())):
        fitted = np.polynomial.chebyshev.chebvander(2.0 * fraction - 1.0, 9)
        best = fitted @ np.linalg.lstsq(fitted, values, rcond=None)[0]
        assert np.abs(evaluate(written, fraction) - best).max() < 1e-7
