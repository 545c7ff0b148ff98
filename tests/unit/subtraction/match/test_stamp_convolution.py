"""Stamps convolved with a basis against scipy in float64."""

import numpy as np
import pytest
from scipy.signal import convolve2d

from residua.subtraction.match.basis import gauss_hermite_basis
from residua.subtraction.match.stamp_convolution import stamp_convolution


@pytest.mark.parametrize(("half_width", "side"), [(15, 49), (7, 31), (17, 32), (4, 5)])
def test_every_basis_function_is_convolved_exactly(half_width, side):
    basis = gauss_hermite_basis(half_width, (0.75, 1.5, 3.0, 6.0), (4, 2, 2, 0))
    n = side + 2 * half_width
    source = np.random.default_rng(9).normal(0, 100, (n, n))
    got = stamp_convolution(basis, side).convolve(source)
    assert got.shape == (basis.n_basis, side * side)
    for image, values in zip(basis.images(), got, strict=True):
        expected = convolve2d(source, image, mode="valid")
        np.testing.assert_allclose(values.reshape(side, side), expected, atol=2e-4)
