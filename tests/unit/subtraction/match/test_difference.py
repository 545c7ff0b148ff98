"""The bare difference against its formula in float64."""

import numpy as np
import pytest

from residua.subtraction.images import MatchingKernel, SpatialPolynomial
from residua.subtraction.match.difference import subtract_matched

SHAPE = (150, 130)


def kernel(order):
    background = SpatialPolynomial(SHAPE, order)
    values = np.random.default_rng(3).normal(0, 5, len(background.exponents))
    constant = SpatialPolynomial(SHAPE, 0)
    return MatchingKernel(np.ones((1, 3, 3)), np.ones((1, 1)), constant, values, background)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("convolved", ["template", "science"])
def test_difference_follows_its_formula(convolved, order):
    rng = np.random.default_rng(1)
    science, template, matched = (rng.normal(0, 10, SHAPE).astype(np.float32) for _ in range(3))
    made = kernel(order)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    background = made.background_polynomial.terms(x, y) @ made.background
    if convolved == "template":
        expected = science.astype(float) - matched - background
    else:
        expected = matched.astype(float) + background - template
    results = [
        subtract_matched(science, template, matched, made, convolved, threads=n) for n in (1, 3)
    ]
    np.testing.assert_allclose(results[0], expected, atol=3e-5)
    np.testing.assert_array_equal(results[0], results[1])
