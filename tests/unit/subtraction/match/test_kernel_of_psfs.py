"""Kernels from two PSFs, the check of given PSFs, and templates that need no warp."""

import numpy as np
import pytest
from scipy.signal import fftconvolve
from tests.unit.subtraction.gaussians import gaussian_psf

from residua.simulation.sky import scene, simulate_pair
from residua.subtraction.align.aligned import whole_pixel_shift
from residua.subtraction.align.pixel_map import PixelMap
from residua.subtraction.align.warp import warp_templates
from residua.subtraction.errors import InsufficientKernelStarsError
from residua.subtraction.images import PsfModel, SpatialPolynomial, TemplateImage
from residua.subtraction.masks import MaskBit
from residua.subtraction.match.background import median_background
from residua.subtraction.match.few.kernel_of_psfs import kernel_of_psfs, scale_of_sources
from residua.subtraction.match.kernel_shape import kernel_groups
from residua.subtraction.psf.given import choose_psf, given_template_psf

SHAPE = (300, 320)


def implied(science, template, convolved="template"):
    return kernel_of_psfs(
        science, template, convolved=convolved, half_width=10,
        groups=kernel_groups(science, template, convolved, 10), background_order=1,
    )  # fmt: skip


def convolve(a, b):
    return fftconvolve(a, b, "full")


@pytest.mark.parametrize("ellipticity", [0.0, 0.1])
def test_the_kernel_makes_one_psf_the_other(ellipticity):
    science = gaussian_psf(2.3, SHAPE, ellipticity=ellipticity)
    template = gaussian_psf(1.8, SHAPE)
    fit = implied(science, template)
    matched = convolve(template.stamp(0, 0), fit.kernel.stamp(0, 0))
    expected = np.pad(science.stamp(0, 0), 10)
    assert np.linalg.norm(matched - expected) < 0.01 * np.linalg.norm(expected)
    assert fit.kernel.stamp(0, 0).sum() == pytest.approx(1.0)
    assert fit.solution is None
    assert fit.stars == 0


def test_the_kernel_follows_psfs_that_vary():
    narrow, wide = gaussian_psf(2.0, SHAPE), gaussian_psf(2.4, SHAPE)
    middle, change = (
        0.5 * (wide.coefficients[0] + s * narrow.coefficients[0]) for s in (1.0, -1.0)
    )
    # The second term is that of x.
    order = SpatialPolynomial(SHAPE, 1).exponents
    coefficients = np.zeros((3, *middle.shape))
    coefficients[0], coefficients[order.index((0, 1))] = middle, change
    science = PsfModel(coefficients, SpatialPolynomial(SHAPE, 1))
    fit = implied(science, gaussian_psf(1.5, SHAPE))
    for x in (20.0, 160.0, 300.0):
        matched = convolve(gaussian_psf(1.5, SHAPE).stamp(0, 0), fit.kernel.stamp(x, 100.0))
        expected = np.pad(science.stamp(x, 100.0), 10)
        assert np.linalg.norm(matched - expected) < 0.02 * np.linalg.norm(expected)


def sources(flux_scale, noise, n=6):
    rng = np.random.default_rng(3)
    science, template = (rng.normal(0, s, SHAPE) for s in (noise, 0.2 * noise))
    wide, narrow = gaussian_psf(2.3, SHAPE).stamp(0, 0), gaussian_psf(1.8, SHAPE).stamp(0, 0)
    for x, y in rng.integers(40, 250, (n, 2)):
        box = (slice(y - 20, y + 21), slice(x - 20, x + 21))
        science[box] += flux_scale * 1e4 * wide
        template[box] += 1e4 * narrow
    return science.astype(np.float32), template.astype(np.float32)


def test_uncalibrated_images_are_scaled_by_their_sources():
    science, template = sources(0.6, 3.0)
    fit = implied(gaussian_psf(2.3, SHAPE), gaussian_psf(1.8, SHAPE))
    variance, good = np.full(SHAPE, 9.4, np.float32), np.ones(SHAPE, bool)
    scaled = scale_of_sources(fit, template, science, variance, good)
    assert scaled.kernel.stamp(0, 0).sum() == pytest.approx(0.6, rel=0.01)
    science, template = sources(0.6, 3.0, n=0)
    with pytest.raises(InsufficientKernelStarsError, match="flux unit"):
        scale_of_sources(fit, template, science, variance, good)


def test_a_bright_source_does_not_lift_the_background():
    rng = np.random.default_rng(5)
    shape = (20, 20)
    psf = gaussian_psf(2.3, shape).stamp(0, 0)
    target = rng.normal(7.0, 3.0, shape) + 4e4 * psf[11:31, 12:32]
    fit = implied(gaussian_psf(2.3, shape), gaussian_psf(1.8, shape))
    zero, good = np.zeros(shape, np.float32), np.ones(shape, bool)
    found = median_background(target.astype(np.float32), zero, good, fit.kernel, 3.0, psf)
    assert found.background[0] == pytest.approx(7.0, abs=1.0)
    none = median_background(target.astype(np.float32), zero, ~good, fit.kernel, 3.0, psf)
    assert none is fit.kernel


@pytest.fixture(scope="module")
def starry():
    return simulate_pair(scene("deep", (600, 620), stars=20_000.0, with_psf=True), 12)


def test_a_given_psf_is_taken_when_the_stars_agree(starry):
    image = starry.science
    chosen = choose_psf(image.psf, image.image, image.variance, image.mask, maximum_stars=60)
    assert chosen.given
    assert chosen.psf is image.psf
    assert chosen.width_ratio == pytest.approx(1.0, abs=0.03)


def test_a_given_psf_that_the_stars_contradict_is_not_believed(starry):
    image = starry.science
    wrong = gaussian_psf(4.0, (600, 620))
    chosen = choose_psf(wrong, image.image, image.variance, image.mask, maximum_stars=60)
    assert not chosen.given
    assert chosen.width_ratio < 0.8
    assert chosen.psf.fwhm() == pytest.approx(image.psf.fwhm(), rel=0.03)


def test_without_stars_a_given_psf_is_believed():
    rng = np.random.default_rng(4)
    noise = rng.normal(size=(100, 110)).astype(np.float32)
    given = gaussian_psf(2.0, (100, 110))
    ones, mask = np.ones_like(noise), np.zeros(noise.shape, np.int32)
    chosen = choose_psf(given, noise, ones, mask, maximum_stars=60)
    assert chosen.given
    assert np.isnan(chosen.width_ratio)


def grid(shift, nodes=(6, 6)):
    y, x = np.mgrid[: nodes[0], : nodes[1]] * 64.0
    return PixelMap(x + shift[0], y + shift[1], 64, 0.0)


def test_whole_pixels_are_recognised():
    assert whole_pixel_shift(grid((3.0002, -7.0))) == (3, -7)
    assert whole_pixel_shift(grid((3.01, -7.0))) is None
    turned = grid((0.0, 0.0))
    turned.x[0, 0] = np.nan
    assert whole_pixel_shift(turned) is None


def test_an_aligned_template_is_copied():
    rng = np.random.default_rng(6)
    image = rng.normal(size=(290, 330)).astype(np.float32)
    mask = np.zeros(image.shape, np.int32)
    image[50, 60] = np.nan
    mask[70, 80] = int(MaskBit.SATURATED)
    template = TemplateImage(image, np.ones_like(image), mask, None)
    warped = warp_templates([template], None, SHAPE, pixel_maps=[grid((5, -4))])
    np.testing.assert_array_equal(warped.image[4:40, :300], image[:36, 5:305])
    assert warped.mask[54, 55] == int(MaskBit.NO_DATA)
    assert warped.mask[74, 75] == int(MaskBit.SATURATED)
    assert (warped.mask[:4] & int(MaskBit.NO_DATA)).all()
    assert warped.noise_covariance.sum(axis=(1, 2)) == pytest.approx(1.0)


def test_a_given_template_psf_is_resampled():
    psf = gaussian_psf(3.0, (400, 400))
    template = TemplateImage(*(np.zeros((400, 400), np.float32),) * 3, None, psf)
    y, x = np.mgrid[:6, :6] * 64.0
    doubled = PixelMap(1.5 * x, 1.5 * y, 64, 0.0)
    found = given_template_psf([template], [doubled], (260, 260))
    assert found.fwhm() == pytest.approx(psf.fwhm() / 1.5, rel=0.01)
    assert (
        given_template_psf([TemplateImage(*(psf.coefficients[0],) * 3, None)], [doubled], SHAPE)
        is None
    )
