"""The correlated noise of bright sources against drawn noise."""

import numpy as np
import pytest
from scipy.signal import fftconvolve

from residua.subtraction.engine.nodes import node_positions
from residua.subtraction.images import MatchingKernel, PsfModel, SpatialPolynomial
from residua.subtraction.noise.decorrelation_nodes import DecorrelationNodes
from residua.subtraction.noise.source_noise import source_noise_factor

SHAPE = (120, 130)
X, Y = 64, 57
CONSTANT = SpatialPolynomial(SHAPE, 0)


def gauss(sigma, half):
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    stamp = np.exp(-0.5 * (x**2 + y**2) / sigma**2)
    return stamp / stamp.sum()


def filters(kernel_sigma):
    """PSF, nodes with a psi that changes nothing, and a kernel."""
    psi = np.zeros((15, 15))
    psi[7, 7] = 1.0
    n = np.prod([p.size for p in node_positions(SHAPE)])
    stamps = np.repeat(psi[None], n, axis=0)
    psf = PsfModel(gauss(2.5, 12)[None], CONSTANT)
    nodes = DecorrelationNodes(stamps, stamps, stamps, psf, np.ones(n), np.ones(n))
    one = np.ones((1, 1))
    kernel = MatchingKernel(gauss(kernel_sigma, 10)[None], one, CONSTANT, np.zeros(1), CONSTANT)
    return psf, nodes, kernel


def planes(excess, kernel):
    """Variance after the kernel, all pixels good but a few, and the variance before it."""
    before = (1.0 + excess).astype(np.float32)
    after = fftconvolve(before, kernel.stamp(0, 0) ** 2, "same").astype(np.float32)
    good = np.ones(SHAPE, bool)
    good[Y + 3, X - 4 : X + 1] = False
    return after, good, before


def test_factor_is_that_of_drawn_noise():
    psf, nodes, kernel = filters(1.6)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    excess = 300.0 * np.exp(-0.5 * ((x - X) ** 2 + (y - Y) ** 2) / 2.0**2)
    variance, good, science_variance = planes(excess, kernel)
    got = source_noise_factor(
        variance, good, science_variance, psf, nodes, kernel, np.array([X]), np.array([Y])
    )
    profile = np.zeros(SHAPE)
    profile[Y - 12 : Y + 13, X - 12 : X + 13] = psf.stamp(0, 0)
    weights = np.where(good, profile, 0.0)
    claimed = np.sum(weights**2 * variance)
    rng = np.random.default_rng(1)
    fluxes = []
    for _ in range(4000):
        drawn = rng.normal(size=SHAPE) * np.sqrt(np.maximum(excess, 0.0) * good)
        fluxes.append(np.sum(weights * fftconvolve(drawn, kernel.stamp(0, 0), "same")))
    independent = np.sum(weights**2 * fftconvolve(excess * good, kernel.stamp(0, 0) ** 2, "same"))
    expected = 1.0 + (np.var(fluxes) - independent) / claimed
    assert expected > 1.5
    assert got[0] == pytest.approx(expected, rel=0.06)


def test_sky_alone_and_a_kernel_of_one_pixel_change_nothing():
    psf, nodes, kernel = filters(1.6)
    flat = np.zeros(SHAPE)
    at = np.array([X, 0, SHAPE[1] - 1]), np.array([Y, 0, SHAPE[0] - 1])
    variance, good, science_variance = planes(flat, kernel)
    assert (
        source_noise_factor(variance, good, science_variance, psf, nodes, kernel, *at) == 1
    ).all()
    psf, nodes, narrow = filters(0.1)
    flat[Y - 3 : Y + 4, X - 3 : X + 4] = 50.0
    variance, good, science_variance = planes(flat, narrow)
    factor = source_noise_factor(variance, good, science_variance, psf, nodes, narrow, *at)
    assert factor == pytest.approx(1.0, abs=1e-6)
