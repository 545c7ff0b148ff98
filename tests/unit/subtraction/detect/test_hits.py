"""Detections that are sharper than the PSF, and noise that the match leaves on stars."""

import numpy as np
import pytest
from tests.unit.subtraction.gaussians import gaussian_psf

from residua.subtraction.detect.mismatch import mismatch_factor
from residua.subtraction.detect.sharpness import hits, sharpness
from residua.subtraction.measure.measured_planes import SourcePeaks

SHAPE, NOISE = (300, 320), 10.0


def peaks_at(places, sign):
    x, y = np.array(places, np.int64).T
    n = len(x)
    return SourcePeaks(x, y, np.zeros(n), np.zeros(n), np.full(n, sign), np.ones(n))


def field(psf, seed, sign):
    """Ten stars of 20 sigma, then ten single pixels that the matched filter sees as strong."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0.0, NOISE, SHAPE).astype(np.float32)
    stamp = psf.stamp(0, 0)
    flux = 20.0 * NOISE / np.sqrt(np.sum(stamp**2))
    half = psf.size // 2
    places = [(30 + 28 * k, y) for y in (80, 220) for k in range(10)]
    for x, y in places[:10]:
        image[y - half : y + half + 1, x - half : x + half + 1] += sign * flux * stamp
    for x, y in places[10:]:
        image[y, x] += sign * flux * np.sum(stamp**2) / stamp.max()
    return image, places


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("sigma", [1.2, 1.5, 2.2])
def test_single_pixels_are_hits_and_stars_are_none(sigma, sign):
    psf = gaussian_psf(sigma, SHAPE)
    image, places = field(psf, 5, sign)
    variance = np.full(SHAPE, NOISE**2, np.float32)
    good = np.ones(SHAPE, np.bool_)
    peaks = peaks_at(places, sign)
    sharp, error = sharpness(image, variance, good, psf, peaks)
    assert np.all(np.abs(sharp[:10]) < 4.0 * error[:10])
    empty = np.zeros(SHAPE, np.float32)
    found = hits(image, variance, good, psf, peaks, empty, empty)
    assert not found[:10].any()
    assert found[10:].all()


def test_nothing_is_judged_on_a_star_or_where_stars_are_single_pixels():
    psf = gaussian_psf(1.3, SHAPE)
    image, places = field(psf, 6, 1.0)
    variance = np.full(SHAPE, NOISE**2, np.float32)
    good = np.ones(SHAPE, np.bool_)
    peaks = peaks_at(places, 1.0)
    empty, star = np.zeros(SHAPE, np.float32), np.full(SHAPE, 100.0 * NOISE, np.float32)
    assert not hits(image, variance, good, psf, peaks, empty, star).any()
    # A star in the visit alone does not excuse what is positive.
    assert hits(image, variance, good, psf, peaks, star, empty)[10:].all()
    assert not hits(image, variance, good, gaussian_psf(0.6, SHAPE), peaks, empty, empty).any()


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("sigma", [1.2, 2.2])
def test_nothing_is_judged_within_half_a_width_of_a_star(sign, sigma):
    psf = gaussian_psf(sigma, SHAPE)
    image, places = field(psf, 7, sign)
    pixels = places[10:]
    variance, good = np.full(SHAPE, NOISE**2, np.float32), np.ones(SHAPE, np.bool_)
    peaks = peaks_at(pixels, sign)
    reach = int(np.ceil(0.5 * psf.fwhm()))
    empty = np.zeros(SHAPE, np.float32)

    def judged(star, blank=0.0):
        other = empty.copy()
        for x, y in pixels:
            other[y - 1 : y + 2, x - 1 : x + 2] = blank
            other[y, x + star] = 100.0 * NOISE
        pair = (empty, other) if sign > 0 else (other, empty)
        return hits(image, variance, good, psf, peaks, *pair)

    assert judged(reach + 1).all()
    assert not judged(reach).any()
    # Pixels without a value hide no star beside them.
    assert judged(reach + 1, np.nan).all()
    assert not judged(reach, np.nan).any()


def test_mismatch_is_noise_where_the_template_is_bright():
    psf = gaussian_psf(1.5, SHAPE)
    variance = np.full(SHAPE, NOISE**2, np.float32)
    template = np.zeros(SHAPE, np.float32)
    template[:, 160:] = 50.0 * NOISE
    x, y = np.array([40, 300]), np.array([100, 100])
    factor = mismatch_factor(template, variance, psf, x, y, 0.04)
    assert factor == pytest.approx([1.0, (0.04 * 50.0) ** 2])
    # Below the noise of a pixel it is not seen, and does not count.
    assert np.all(mismatch_factor(template, variance, psf, x, y, 0.015) == 1.0)
    for nothing in (0.0, float("nan")):
        assert np.all(mismatch_factor(template, variance, psf, x, y, nothing) == 1.0)
