"""Convolution with a varying kernel against scipy in float64."""

import numpy as np
import pytest
from scipy.signal import convolve2d

from residua.subtraction.images import MatchingKernel, SpatialPolynomial
from residua.subtraction.match.basis import gauss_hermite_basis
from residua.subtraction.match.convolve import convolve_varying, varying_kernel

RNG = np.random.default_rng(8)


def make_kernel(shape, half_width=9, order=2, sigmas=(0.75, 1.5, 3.0), degrees=(2, 2, 1)):
    basis = gauss_hermite_basis(half_width, sigmas, degrees)
    polynomial = SpatialPolynomial(shape, order)
    coefficients = RNG.normal(0, 0.1, (basis.n_basis, len(polynomial.exponents)))
    coefficients[0, 0] = 1.0
    background = SpatialPolynomial(shape, 0)
    return (
        MatchingKernel(basis.images(), coefficients, polynomial, np.zeros(1), background),
        basis,
    )


def reference(image, kernel):
    """Direct sum in float64 with the kernel of each 32 px block's centre."""
    ny, nx = image.shape
    y = np.minimum(np.arange(ny) // 32 * 32 + 15.5, ny - 1)
    x = np.minimum(np.arange(nx) // 32 * 32 + 15.5, nx - 1)
    terms = kernel.polynomial.terms(x[None, :], y[:, None])
    weights = terms @ kernel.coefficients.T
    return sum(
        weights[..., b] * convolve2d(image.astype(float), basis, mode="same")
        for b, basis in enumerate(kernel.basis)
    )


@pytest.mark.parametrize("shape", [(70, 90), (129, 33), (64, 513)])
@pytest.mark.parametrize("half_width", [4, 9, 17])
def test_convolution_is_exact(shape, half_width):
    kernel, basis = make_kernel(shape, half_width)
    image = RNG.normal(0, 1, shape).astype(np.float32)
    image[20, 30] = 3.0e4
    result = convolve_varying(image, varying_kernel(kernel, basis))
    expected = reference(image, kernel)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=3e-7 * 3e4, rtol=1e-6)


def test_block_values_are_close_to_the_continuous_kernel():
    shape = (200, 260)
    kernel, basis = make_kernel(shape)
    image = np.zeros(shape, np.float32)
    image[101, 77] = 1.0
    result = convolve_varying(image, varying_kernel(kernel, basis))[92:111, 68:87]
    expected = kernel.stamp(77, 101)
    # Across a 32 px block of a 260 px image the terms change by up to an eighth of their range.
    assert np.abs(result - expected).max() < 0.25 * np.abs(expected).max()
    assert result.sum() == pytest.approx(expected.sum(), rel=0.05)


def test_same_bits_on_any_number_of_threads():
    shape = (300, 310)
    kernel, basis = make_kernel(shape)
    image = RNG.normal(0, 1, shape).astype(np.float32)
    results = [convolve_varying(image, varying_kernel(kernel, basis), threads=n) for n in (1, 2, 3)]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_out_buffer_is_written_whole():
    shape = (70, 90)
    kernel, basis = make_kernel(shape)
    image = RNG.normal(0, 1, shape).astype(np.float32)
    out = np.full(shape, np.nan, np.float32)
    assert convolve_varying(image, varying_kernel(kernel, basis), out=out) is out
    np.testing.assert_array_equal(out, convolve_varying(image, varying_kernel(kernel, basis)))


@pytest.mark.parametrize("degrees", [(2, 2, 1), (9, 5, 3)])
def test_nearly_dependent_functions_cost_no_precision(degrees):
    # High degrees: taps of the functions as they are would be far larger than the kernel's.
    shape, half_width = (96, 110), 17
    basis = gauss_hermite_basis(half_width, (1.5, 2.5, 4.0), degrees)
    rng = np.random.default_rng(3)
    products = np.einsum("bij,ik,jl->bkl", basis.products, *[basis.functions] * 2)
    # A smooth kernel, expressed in the basis with large coefficients that cancel.
    y, x = np.mgrid[-half_width : half_width + 1, -half_width : half_width + 1]
    wanted = np.exp(-0.5 * ((x - 0.3) ** 2 / 4.1 + y**2 / 5.3))
    design = products.reshape(len(products), -1).T
    coefficients = np.linalg.lstsq(design, (wanted / wanted.sum()).ravel(), rcond=None)[0]
    kernel = MatchingKernel(
        basis.images(), coefficients[:, None], SpatialPolynomial(shape, 0), np.zeros(1),
        SpatialPolynomial(shape, 0),
    )  # fmt: skip
    image = rng.normal(0, 20.0, shape).astype(np.float32)
    image[48, 55] = 5.0e4
    expected = reference(image, kernel)
    # A twentieth of a sky sigma was lost before; 0.01 is allowed.
    applied = varying_kernel(kernel, basis)
    np.testing.assert_allclose(convolve_varying(image, applied), expected, atol=0.01)
    assert np.abs(applied.tables.horizontal).max() <= 2.0
