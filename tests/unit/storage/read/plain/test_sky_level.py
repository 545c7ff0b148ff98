"""The sky of plain images and its noise, against skies that are known."""

import numpy as np
import pytest
from astropy.io import fits

from residua.storage.read.plain.count_noise import count_variance
from residua.storage.read.plain.sky_level import SkyModel, estimate_sky

SHAPE = (512, 640)
EVERYWHERE = np.ones(SHAPE, bool)


def gradient(level, slope):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return level + slope * (x / SHAPE[1] - 0.5) + 0.5 * slope * (y / SHAPE[0] - 0.5)


def with_stars(sky, sigma, seed, count=60):
    rng = np.random.default_rng(seed)
    image = sky + rng.normal(0.0, sigma, SHAPE)
    for _ in range(count):
        cx, cy = rng.uniform(8, SHAPE[1] - 8), rng.uniform(8, SHAPE[0] - 8)
        box = np.s_[int(cy) - 8 : int(cy) + 9, int(cx) - 8 : int(cx) + 9]
        y, x = np.mgrid[box]
        peak = sigma * rng.pareto(1.0) * 10.0
        image[box] += peak * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 8.0)
    return image.astype(np.float32)


@pytest.mark.parametrize("level", [-50.0, 0.0, 1000.0])
@pytest.mark.parametrize("slope", [0.0, 40.0])
@pytest.mark.parametrize("sigma", [1.0, 20.0])
def test_the_sky_under_stars(level, slope, sigma):
    truth = gradient(level, slope)
    found = estimate_sky(with_stars(truth, sigma, 3), EVERYWHERE)
    assert found.noise == pytest.approx(np.hypot(sigma, 0.07 * slope), rel=0.15)
    assert found.level == pytest.approx(np.median(truth), abs=0.1 * sigma + 0.02 * slope)
    assert np.abs(found.background - truth).mean() < 0.1 * sigma + 0.02 * slope


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e4])
def test_units_and_offsets_carry_through(factor):
    image = with_stars(gradient(100.0, 10.0), 5.0, 1)
    one = estimate_sky(image, EVERYWHERE)
    other = estimate_sky(factor * (image.astype(float) + 30.0), EVERYWHERE)
    assert other.level == pytest.approx(factor * (one.level + 30.0), rel=1e-6)
    assert other.noise == pytest.approx(factor * one.noise, rel=1e-6)
    assert np.allclose(other.background, factor * (one.background + 30.0), rtol=1e-5)


def test_a_cell_full_of_galaxy_is_no_sky():
    image = with_stars(gradient(100.0, 0.0), 5.0, 2)
    image[128:256, 256:384] += 200.0
    found = estimate_sky(image, EVERYWHERE)
    assert np.abs(found.background - 100.0).max() < 5.0


def test_unusable_pixels_do_not_count():
    image = with_stars(gradient(100.0, 0.0), 5.0, 2)
    good = np.random.default_rng(0).uniform(size=SHAPE) < 0.6
    image[~good] = np.nan
    found = estimate_sky(image, good)
    assert found.level == pytest.approx(100.0, abs=0.5)
    assert found.noise == pytest.approx(5.0, rel=0.1)


def test_without_pixels_nothing_is_known_of_the_noise():
    found = estimate_sky(np.zeros(SHAPE, np.float32), ~EVERYWHERE)
    assert (found.level, float(np.abs(found.background).max())) == (0.0, 0.0)
    assert np.isnan(found.noise)


def sky_of(image, sigma, level):
    return SkyModel(np.full(image.shape, level, np.float32), level, sigma)


@pytest.mark.parametrize("gain", [0.5, 2.0, 8.0])
@pytest.mark.parametrize("read_noise", [0.0, 6.0])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_variance_is_that_of_electrons(gain, read_noise, scale):
    level, source = 400.0, 3000.0
    image = np.full((40, 50), level)
    image[10:30, 10:30] += source
    per_pixel = level / gain + (read_noise / gain) ** 2
    image /= scale
    sky = sky_of(image, np.sqrt(per_pixel) / scale, level / scale)
    variance, notes = count_variance(image, sky, fits.Header(), gain, read_noise, scale=scale)
    assert notes == ()
    assert variance[0, 0] == pytest.approx(per_pixel / scale**2, rel=1e-5)
    assert variance[20, 20] == pytest.approx((per_pixel + source / gain) / scale**2, rel=1e-5)


@pytest.mark.parametrize("gain", [1.0, 4.0])
def test_simulated_electrons_have_the_variance_they_are_given(gain):
    rng = np.random.default_rng(8)
    level, read_noise = 500.0, 10.0
    image = rng.poisson(level * gain, SHAPE) / gain + rng.normal(0, read_noise / gain, SHAPE)
    sky = estimate_sky(image, EVERYWHERE)
    variance, _ = count_variance(image, sky, fits.Header(), gain, read_noise)
    assert np.median(variance) == pytest.approx(image.var(), rel=0.05)


def test_of_a_subtracted_sky_the_card_tells_and_else_the_noise():
    image = np.zeros((20, 20))
    sky = sky_of(image, np.sqrt(300.0), 0.0)
    from_card, _ = count_variance(image, sky, fits.Header({"SKYLEVEL": 1200.0}), 4.0, 4.0)
    assert from_card[0, 0] == pytest.approx(1200.0 / 4.0 + 1.0)
    measured, _ = count_variance(image, sky, fits.Header(), 4.0, 4.0)
    assert measured[0, 0] == pytest.approx(300.0)
    absurd, _ = count_variance(image, sky, fits.Header({"SKYLEVEL": 9e6}), 4.0, 4.0)
    assert absurd[0, 0] == pytest.approx(300.0)


def test_a_setting_of_the_camera_is_no_gain():
    image = np.full((20, 20), 1000.0)
    variance, notes = count_variance(image, sky_of(image, 20.0, 1000.0), fits.Header(), 300.0, 1.0)
    assert variance[0, 0] == pytest.approx(400.0, rel=1e-3)
    assert "2.5 fits" in notes[0]


def test_cards_that_predict_too_much_noise_are_not_believed():
    # The mean of four frames, with the gain of one: a quarter of the variance.
    level, gain, frames = 1000.0, 2.0, 4
    measured = level / gain / frames
    image = np.full((20, 20), level)
    variance, notes = count_variance(
        image,
        sky_of(image, np.sqrt(measured), level),
        fits.Header(),
        gain,
        0.0,
        check=lambda predicted: measured / predicted,
    )
    assert variance[0, 0] == pytest.approx(measured, rel=1e-5)
    assert "an average of several frames" in notes[0]


def test_a_part_of_an_image_has_the_variance_of_the_whole():
    rng = np.random.default_rng(5)
    image = rng.normal(100.0, 10.0, (60, 90)) + 1e4 * (rng.random((60, 90)) > 0.99)
    whole, _ = count_variance(image, sky_of(image, 10.0, 100.0), fits.Header(), 2.0, 5.0)
    part = image[20:50, 30:80]
    cut, _ = count_variance(part, sky_of(part, 10.0, 100.0), fits.Header(), 2.0, 5.0)
    np.testing.assert_array_equal(cut[1:-1, 1:-1], whole[21:49, 31:79])
