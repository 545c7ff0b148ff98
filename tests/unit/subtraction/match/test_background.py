import numpy as np
import pytest

from residua.subtraction.images import MatchingKernel, SpatialPolynomial
from residua.subtraction.match.background import refine_background

SHAPE = (240, 260)


def kernel(background):
    return MatchingKernel(
        np.ones((1, 1, 1)), np.ones((1, 1)), SpatialPolynomial(SHAPE, 0),
        np.array(background), SpatialPolynomial(SHAPE, 1),
    )  # fmt: skip


def test_background_is_found_between_the_sources():
    rng = np.random.default_rng(1)
    polynomial = SpatialPolynomial(SHAPE, 1)
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    truth = np.array([4.0, 1.5, -2.0])
    target = (polynomial.terms(x, y) @ truth + rng.normal(0.0, 5.0, SHAPE)).astype(np.float32)
    matched = np.zeros(SHAPE, np.float32)
    matched[100:140, 50:200] = 1000.0
    target[100:140, 50:200] += 1500.0  # an ill-subtracted source must not count
    target[20, 30] += 1e5
    refined = refine_background(
        target, matched, np.ones(SHAPE, bool), kernel([6.0, 0, 0]), "template", 5.0
    )
    np.testing.assert_allclose(refined.background, truth, atol=0.1)


@pytest.mark.parametrize("convolved", ["template", "science"])
def test_noise_of_the_template_does_not_bias_the_background(convolved):
    """Choosing faint pixels of a noisy template must not choose negative noise."""
    rng = np.random.default_rng(2)
    template, science = (rng.normal(0.0, s, SHAPE).astype(np.float32) for s in (2.0, 3.0))
    target, matched = (science, template) if convolved == "template" else (template, science)
    good = np.ones(SHAPE, bool)
    refined = refine_background(target, matched, good, kernel([0.3, 0, 0]), convolved, 3.6)
    np.testing.assert_allclose(refined.background, 0.0, atol=0.06)


def test_background_stays_where_there_is_no_sky():
    plane = np.zeros(SHAPE, np.float32)
    given = kernel([6.0, 0.0, 0.0])
    assert refine_background(plane, plane, np.zeros(SHAPE, bool), given, "template", 5.0) is given
