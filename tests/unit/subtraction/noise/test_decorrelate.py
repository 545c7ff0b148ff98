"""Decorrelation against direct float64 sums, and on noise that went through the real chain."""

import numpy as np
import pytest
from astropy.wcs import WCS
from scipy.signal import convolve2d

from residua.subtraction.align.lanczos import power_spectrum, warp_covariance
from residua.subtraction.align.warp import warp_templates
from residua.subtraction.detect.matched_filter import matched_filter
from residua.subtraction.engine.nodes import node_positions
from residua.subtraction.images import MatchingKernel, PsfModel, SpatialPolynomial, TemplateImage
from residua.subtraction.match.basis import gauss_hermite_basis
from residua.subtraction.match.convolve import convolve_varying, varying_kernel
from residua.subtraction.noise.decorrelate import apply_psi, decorrelate, propagate_variance
from residua.subtraction.noise.decorrelation_filters import decorrelation_filters
from residua.subtraction.noise.decorrelation_nodes import decorrelation_nodes, node_medians

SHAPE = (300, 340)
ANGLE = np.radians(30.0)
JACOBIAN = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])


def gauss(sigma, half=15):
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    g = np.exp(-0.5 * (x**2 + y**2) / sigma**2)
    return g / g.sum()


def gauss_kernel(shape, sigma, scale=1.0, slope=0.0):
    """A kernel near a Gaussian of the given sigma, its width changing over the image."""
    basis = gauss_hermite_basis(15, (0.75, 1.5, 3.0), (4, 2, 2))
    images = basis.images()
    flat = images.reshape(len(images), -1).T
    fit, wider = (
        np.linalg.lstsq(flat, gauss(s).ravel(), rcond=None)[0] for s in (sigma, 1.1 * sigma)
    )
    polynomial = SpatialPolynomial(shape, 1)
    coefficients = scale * np.stack([fit, slope * (wider - fit), slope * (wider - fit)], axis=1)
    kernel = MatchingKernel(
        images, coefficients, polynomial, np.zeros(1), SpatialPolynomial(shape, 0)
    )
    return kernel, basis


def constant_psf(shape, sigma):
    return PsfModel(gauss(sigma)[None], SpatialPolynomial(shape, 0))


def n_nodes(shape):
    y, x = node_positions(shape)
    return y.size * x.size


def covariances(shape):
    return np.repeat(warp_covariance(JACOBIAN, 9)[None], n_nodes(shape), axis=0)


def make_nodes(good, vs, vt, kernel, convolved="template"):
    return decorrelation_nodes(
        vs,
        vt,
        good,
        kernel=kernel,
        noise_covariance=covariances(good.shape),
        unconvolved_psf=constant_psf(good.shape, 2.0),
        convolved=convolved,
    )


def interpolate(stamps, shape):
    """Stamps at every pixel's 32 px block, bilinear between the nodes: (ny, nx, size, size)."""
    (nodes_y, nodes_x), (ny, nx) = node_positions(shape), shape
    centre = [np.minimum(np.arange(n) // 32 * 32 + 15.5, n - 1) for n in shape]
    grid = stamps.reshape(nodes_y.size, nodes_x.size, *stamps.shape[1:])
    out = np.zeros((ny, nx, *stamps.shape[1:]))
    hat = [
        np.clip(1 - np.abs(c[:, None] - n) / (n[1] - n[0]), 0, None)
        for c, n in zip(centre, (nodes_y, nodes_x), strict=True)
    ]
    for i in range(nodes_y.size):
        for j in range(nodes_x.size):
            weight = hat[0][:, i][:, None] * hat[1][:, j][None, :]
            out += weight[..., None, None] * grid[i, j]
    return out


def varying_convolution(image, stamps, fill=0.0):
    half = stamps.shape[-1] // 2
    padded = np.pad(image.astype(float), half, constant_values=fill)
    ny, nx = image.shape
    out = np.zeros(image.shape)
    for k in range(2 * half + 1):
        for i in range(2 * half + 1):
            y, x = 2 * half - k, 2 * half - i
            out += stamps[..., k, i] * padded[y : y + ny, x : x + nx]
    return out


def test_psi_is_its_formula():
    kernel, _ = gauss_kernel(SHAPE, 1.3, scale=0.9)
    good = np.ones(SHAPE, bool)
    vs, vt = np.full(SHAPE, 4.0, np.float32), np.full(SHAPE, 2.0, np.float32)
    nodes = make_nodes(good, vs, vt, kernel)
    power = power_spectrum(warp_covariance(JACOBIAN, 9), 64)
    plane = np.zeros((64, 64))
    plane[:31, :31] = kernel.stamp(0, 0)
    response = np.fft.rfft2(plane)
    k0 = kernel.stamp(0, 0).sum()
    psi = np.sqrt((4 + 2 * k0**2) / (4 + 2 * np.abs(response) ** 2 * power))
    expected = np.fft.fftshift(np.fft.irfft2(psi))[25:40, 25:40]
    np.testing.assert_allclose(nodes.psi[0], expected / expected.sum(), atol=1e-10)
    assert nodes.psi.sum(axis=(1, 2)) == pytest.approx(1.0)


def test_variance_filters_are_the_squares():
    kernel, _ = gauss_kernel(SHAPE, 1.3)
    ones = np.ones(SHAPE, np.float32)
    nodes = make_nodes(ones > 0, ones, ones, kernel)
    psi = nodes.psi[0]
    assert nodes.science_square[0].sum() == pytest.approx(np.sum(psi**2), rel=1e-9)
    # psi x K x l: the noise of the warped template after kernel and psi.
    whole = convolve2d(psi, kernel.stamp(0, 0))
    lag = convolve2d(whole, whole[::-1, ::-1])
    centre = lag.shape[0] // 2
    near = lag[centre - 9 : centre + 10, centre - 9 : centre + 10]
    expected = np.sum(near * warp_covariance(JACOBIAN, 9))
    assert nodes.template_square[0].sum() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("convolved", ["template", "science"])
def test_planes_follow_direct_sums(convolved):
    rng = np.random.default_rng(4)
    kernel, _ = gauss_kernel(SHAPE, 1.2, scale=0.95, slope=0.5)
    vs = (3.0 + np.linspace(0, 1, SHAPE[1])[None] + 5 * rng.random(SHAPE) ** 8).astype(np.float32)
    vt = (1.0 + rng.random(SHAPE) ** 6).astype(np.float32)
    good = rng.random(SHAPE) > 0.01
    difference = rng.normal(0, 2, SHAPE).astype(np.float32)
    difference[40:43, 60:63] += 300.0
    nodes = make_nodes(good, vs, vt, kernel, convolved)
    clean = np.where(good, difference, 0.0)
    psi = interpolate(nodes.psi, SHAPE)
    got = apply_psi(difference, good, decorrelation_filters(nodes))
    expected = varying_convolution(clean, psi)
    assert np.abs(got - expected).max() < 4e-3 * np.abs(expected).max()
    assert np.sqrt(np.mean((got - expected) ** 2)) < 2e-3 * expected.std()

    inner = slice(30, -30)
    variance = propagate_variance(vs, vt, np.ones(SHAPE, bool), decorrelation_filters(nodes))
    exact = varying_convolution(vs, interpolate(nodes.science_square, SHAPE)) + varying_convolution(
        vt, interpolate(nodes.template_square, SHAPE)
    )
    ratio = (variance / exact)[inner, inner]
    assert np.abs(ratio - 1).max() < 0.02
    assert abs(ratio.mean() - 1) < 2e-3


def test_garbage_in_masked_pixels_leaks_nowhere():
    rng = np.random.default_rng(4)
    kernel, _ = gauss_kernel(SHAPE, 1.2)
    good = rng.random(SHAPE) > 0.02
    difference = rng.normal(0, 1, SHAPE).astype(np.float32)
    vs, vt = np.full(SHAPE, 2.0, np.float32), np.full(SHAPE, 1.0, np.float32)
    psf = constant_psf(SHAPE, 2.0)
    results = []
    for garbage in [(0.0, 2.0, 1.0), (np.nan, np.nan, np.inf), (-np.inf, 0.0, -5.0), (1e30,) * 3]:
        planes = [plane.copy() for plane in (difference, vs, vt)]
        for plane, value in zip(planes, garbage, strict=True):
            plane[~good] = value
        d, s, t = planes
        done = decorrelate(
            d,
            good,
            s,
            t,
            decorrelation_filters(
                decorrelation_nodes(
                    s,
                    t,
                    good,
                    kernel=kernel,
                    noise_covariance=covariances(SHAPE),
                    unconvolved_psf=psf,
                    convolved="template",
                )
            ),
        )
        found = matched_filter(done.image, done.variance, good, done.psf)
        results.append((done.image, done.variance, found.signal_to_noise, found.flux_error))
        assert np.isfinite(done.image).all()
        assert (done.variance > 0).all()
        assert np.isfinite(done.variance).all()
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_psf_is_psi_times_p():
    kernel, _ = gauss_kernel(SHAPE, 1.5)
    ones = np.ones(SHAPE, np.float32)
    nodes = make_nodes(ones > 0, ones, ones, kernel)
    expected = convolve2d(nodes.psi[0], gauss(2.0))
    stamp = nodes.psf.stamp(100.0, 50.0)
    assert stamp.shape == expected.shape
    np.testing.assert_allclose(stamp, expected, atol=1e-6)


def test_medians_are_those_of_good_pixels_near_the_node():
    shape = (600, 700)
    nodes_y, nodes_x = node_positions(shape)
    plane = np.full(shape, 3.0, np.float32)
    plane[:, 500:] = 7.0
    good = np.ones(shape, bool)
    good[:200, :200] = False
    plane[~good] = np.nan
    medians = node_medians(plane, good).reshape(nodes_y.size, nodes_x.size)
    assert (medians[:, 0] == 3.0).all()
    assert (medians[:, -1] == 7.0).all()
    assert (node_medians(np.full(shape, np.nan, np.float32), good) == 1.0).all()


def tan(size, angle=0.0, scale=0.2):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [10.0, -30.0]
    wcs.wcs.crpix = [(size[1] + 1) / 2, (size[0] + 1) / 2]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = scale / 3600 * np.array([[-c, s], [s, c]])
    wcs.wcs.set()
    return wcs


@pytest.mark.parametrize("angle", [0.0, 30.0])
@pytest.mark.parametrize(
    ("convolved", "depth"), [("template", 0.5), ("template", 2.0), ("science", 1.0)]
)
def test_noise_through_the_real_chain_is_white_and_honest(convolved, depth, angle):
    """Pull, matched-filter S/N and lag-1 covariance of pure noise; template noise warped."""
    rng = np.random.default_rng(77)
    shape, size = (640, 700), (1010, 1010)
    sigma_s, sigma_t = 2.0, 2.0 * np.sqrt(depth)
    template = TemplateImage(
        rng.normal(0, sigma_t, size).astype(np.float32),
        np.full(size, sigma_t**2, np.float32),
        np.zeros(size, np.int32),
        tan(size),
    )
    warped = warp_templates([template], tan(shape, angle), shape)
    assert warped.coverage == 1.0
    science = rng.normal(0, sigma_s, shape).astype(np.float32)
    vs = np.full(shape, sigma_s**2, np.float32)
    kernel, basis = gauss_kernel(shape, 1.3 if convolved == "template" else 0.9, 1.1, 0.5)
    if convolved == "template":
        difference = science - convolve_varying(warped.image, varying_kernel(kernel, basis))
    else:
        difference = convolve_varying(science, varying_kernel(kernel, basis)) - warped.image
    good = np.ones(shape, bool)
    done = decorrelate(
        difference,
        good,
        vs,
        warped.variance,
        decorrelation_filters(
            decorrelation_nodes(
                vs,
                warped.variance,
                good,
                kernel=kernel,
                noise_covariance=warped.noise_covariance,
                unconvolved_psf=constant_psf(shape, 2.2),
                convolved=convolved,
            )
        ),
    )
    inner = (slice(40, -40), slice(40, -40))
    pull = (done.image / np.sqrt(done.variance))[inner]
    n = pull.size
    assert pull.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * n))
    assert abs(np.mean(pull[:, 1:] * pull[:, :-1])) < 4 / np.sqrt(n)
    assert abs(np.mean(pull[1:] * pull[:-1])) < 4 / np.sqrt(n)
    snr = matched_filter(done.image, done.variance, good, done.psf).signal_to_noise[inner]
    # Neighbouring S/N are correlated over about 4 pi sigma^2 pixels.
    assert snr.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * n / 60))


def test_same_bits_on_any_number_of_threads():
    rng = np.random.default_rng(4)
    kernel, _ = gauss_kernel(SHAPE, 1.2, slope=0.5)
    good = rng.random(SHAPE) > 0.01
    difference = rng.normal(0, 1, SHAPE).astype(np.float32)
    vs, vt = (1 + rng.random(SHAPE).astype(np.float32) for _ in range(2))
    results = [
        decorrelate(
            difference,
            good,
            vs,
            vt,
            decorrelation_filters(make_nodes(good, vs, vt, kernel)),
            threads=threads,
        )
        for threads in (1, 2, 3)
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(other.image, results[0].image)
        np.testing.assert_array_equal(other.variance, results[0].variance)
        np.testing.assert_array_equal(other.psf.coefficients, results[0].psf.coefficients)
