"""The Gauss-Hermite basis against its definition."""

import numpy as np
import pytest

from residua.subtraction.match.basis import gauss_hermite_basis

SIGMAS, DEGREES = (0.75, 1.5, 3.0, 6.0), (4, 2, 2, 0)


def test_only_the_first_function_carries_flux():
    images = gauss_hermite_basis(15, SIGMAS, DEGREES).images()
    assert images.shape == (28, 31, 31)
    sums = images.sum(axis=(1, 2))
    assert sums[0] == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(sums[1:], 0.0, atol=1e-12)


def test_first_function_is_a_gaussian():
    image = gauss_hermite_basis(10, (0.8,), (0,)).images()[0]
    y, x = np.mgrid[-10:11, -10:11]
    gauss = np.exp(-0.5 * (x**2 + y**2) / 0.8**2)
    np.testing.assert_allclose(image, gauss / gauss.sum(), atol=1e-7)


def test_basis_spans_polynomials_times_gaussians():
    basis = gauss_hermite_basis(15, (3.0,), (2,))
    y, x = np.mgrid[-15:16, -15:16]
    gauss = np.exp(-0.5 * (x**2 + y**2) / 9.0)
    flat = basis.images().reshape(basis.n_basis, -1).T
    for power_y, power_x in [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2)]:
        target = (gauss * x**power_x * y**power_y).ravel()
        residual = target - flat @ np.linalg.lstsq(flat, target, rcond=None)[0]
        assert np.abs(residual).max() < 1e-6 * np.abs(target).max()


def test_basis_is_well_conditioned():
    images = gauss_hermite_basis(15, SIGMAS, DEGREES).images()
    flat = images.reshape(len(images), -1)
    flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    assert np.linalg.cond(flat) < 1e3


def test_images_are_the_sum_of_products():
    basis = gauss_hermite_basis(6, (0.8, 1.7), (2, 1))
    for b, image in enumerate(basis.images()):
        expected = sum(
            basis.products[b, i, j] * np.outer(basis.functions[i], basis.functions[j])
            for i in range(len(basis.functions))
            for j in range(len(basis.functions))
        )
        np.testing.assert_allclose(image, expected, atol=1e-15)


@pytest.mark.parametrize(("sigmas", "degrees"), [((), ()), ((1.0, 2.0), (2,))])
def test_mismatched_degrees_are_refused(sigmas, degrees):
    with pytest.raises(ValueError, match="one degree for each sigma"):
        gauss_hermite_basis(5, sigmas, degrees)
