"""PSFs after a convolution, and what matching does to the noise, against direct sums."""

import numpy as np
import pytest
from scipy import signal

from residua.subtraction.images import MatchingKernel, PsfModel, SpatialPolynomial
from residua.subtraction.match.kernel_stars import KernelStars
from residua.subtraction.psf.resampling import convolved_psf, noise_factors, photometric_ratio

SHAPE = (200, 300)
FLAT = SpatialPolynomial(SHAPE, 0)
NO_BACKGROUND = np.zeros(1)
PLACES = [(0.0, 0.0), (150.0, 100.0), (299.0, 10.0), (40.5, 199.0)]


def gaussian(sigma, half=10, dx=0.0):
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    stamp = np.exp(-((x - dx) ** 2 + y**2) / (2.0 * sigma**2))
    return stamp / stamp.sum()


def model(*sigmas):
    """A PSF that changes from one width to the others along x and y."""
    polynomial = SpatialPolynomial(SHAPE, 0 if len(sigmas) == 1 else 1)
    stamps = [gaussian(sigmas[0])]
    stamps += [0.3 * (gaussian(s) - stamps[0]) for s in sigmas[1:]]
    return PsfModel(np.stack(stamps), polynomial)


def kernel(order, scale=2.5):
    polynomial = SpatialPolynomial(SHAPE, order)
    basis = np.stack([gaussian(1.5, 7), gaussian(1.0, 7, 0.5) - gaussian(2.0, 7)])
    coefficients = np.zeros((2, polynomial.terms(0.0, 0.0).shape[-1]))
    coefficients[:, 0] = scale, 0.3
    coefficients[1, 1:] = 0.1
    return MatchingKernel(basis, coefficients, polynomial, NO_BACKGROUND, FLAT)


@pytest.mark.parametrize(("sigmas", "order"), [((2.0,), 0), ((2.0,), 1), ((2.0, 2.3, 1.8), 1)])
def test_the_psf_of_a_convolved_image(sigmas, order):
    psf, k = model(*sigmas), kernel(order)
    made = convolved_psf(psf, k)
    for x, y in PLACES:
        direct = signal.convolve2d(psf.stamp(x, y), k.stamp(x, y))
        direct /= direct.sum()
        assert made.stamp(x, y).shape == direct.shape
        assert made.stamp(x, y).sum() == pytest.approx(1.0, abs=1e-3)
        assert np.abs(made.stamp(x, y) - direct).max() < 1e-3 * direct.max()


def test_widths_add_in_squares():
    sigma = convolved_psf(model(2.0), kernel_of(1.5)).fwhm() / 2.3548
    assert sigma == pytest.approx(np.hypot(2.0, 1.5), rel=0.01)


def kernel_of(sigma):
    return MatchingKernel(gaussian(sigma, 7)[None], np.ones((1, 1)), FLAT, NO_BACKGROUND, FLAT)


def star_field(factor, seed=4):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    xs, ys = rng.integers(15, 285, 12), rng.integers(15, 185, 12)
    template = sum(
        1e4 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 8.0) for a, b in zip(xs, ys, strict=True)
    )
    return (factor * template).astype(np.float32), template.astype(np.float32), xs, ys


def stars_at(xs, ys):
    return KernelStars(np.asarray(xs), np.asarray(ys), np.ones(len(xs)))


@pytest.mark.parametrize("factor", [0.01, 0.3, 1.0, 40.0])
def test_the_ratio_of_fluxes_is_that_of_the_stars(factor):
    science, template, xs, ys = star_field(factor)
    mask = np.zeros(SHAPE, np.int32)
    ratio = photometric_ratio(science, template, mask, 1, stars_at(xs, ys))
    assert ratio == pytest.approx(factor, rel=1e-4)


def test_stars_with_unusable_pixels_and_absurd_ratios_count_for_nothing():
    science, template, xs, ys = star_field(2.0)
    mask = np.zeros(SHAPE, np.int32)
    for x, y in list(zip(xs, ys, strict=True))[:8]:
        science[y - 3 : y + 4, x - 3 : x + 4] = 1e6
        mask[y, x] = 4
    ratio = photometric_ratio(science, template, mask, 4, stars_at(xs, ys))
    clean = [
        (x, y) for x, y in zip(xs, ys, strict=True) if not mask[y - 6 : y + 7, x - 6 : x + 7].any()
    ]
    assert clean
    assert ratio == pytest.approx(2.0, rel=0.02)
    mask[:] = 4
    assert photometric_ratio(science, template, mask, 4, stars_at(xs, ys)) == 1.0
    mask[:] = 0
    huge = (template * np.float32(1e6)).astype(np.float32)
    assert photometric_ratio(huge, template, mask, 4, stars_at(xs, ys)) == 1e3


@pytest.mark.parametrize("ratio", [0.5, 1.0, 3.0])
def test_noise_after_matching_is_the_sum_of_the_kernel_squared(ratio):
    narrow, wide = model(1.6), model(2.4)
    width = np.sqrt(2.4**2 - 1.6**2)
    direct = np.sum(gaussian(width, 15) ** 2)
    science, template = noise_factors(wide, narrow, ratio, "template")
    assert science == 1.0
    assert template == pytest.approx(ratio**2 * direct, rel=0.03)
    science, template = noise_factors(narrow, wide, ratio, "science")
    assert template == 1.0
    assert science == pytest.approx(direct / ratio**2, rel=0.03)


def test_equal_psfs_leave_a_narrow_kernel():
    # Not 1 / (4 pi 0^2): the kernel is taken to be half a pixel wide at least.
    psf = model(2.0)
    assert noise_factors(psf, psf, 1.0, "template") == (1.0, pytest.approx(1.0 / np.pi))
