import numpy as np
import pytest

from residua.subtraction.images import MatchingKernel, SpatialPolynomial
from residua.subtraction.match.background import _extremes, refine_background

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


@pytest.mark.parametrize("shape", [(50, 64), (420, 33), (7, 5), (600, 3)])
def test_the_brightest_and_faintest_around_are_those_of_nine_places_twice(shape):
    rng = np.random.default_rng(4)
    target, matched = (rng.normal(0.0, 5.0, shape).astype(np.float32) for _ in range(2))
    good = rng.random(shape) < 0.9
    target[rng.random(shape) < 0.02] = np.nan
    step = max(1, shape[0] // 200)
    rows = range(step // 2, shape[0], step)
    least, most = (np.empty((len(rows), shape[1]), np.float32) for _ in range(2))
    _extremes(target, matched, good, step, least, most)
    around = [(b * d, a * d) for d in (2, 5) for b in (-1, 0, 1) for a in (-1, 0, 1)]
    for row, y in enumerate(rows):
        for x in range(shape[1]):
            places = [(y + b, x + a) for b, a in around]
            values = [
                target[j, i] - matched[j, i]
                for j, i in places
                if 0 <= j < shape[0] and 0 <= i < shape[1] and good[j, i]
            ]
            values = [v for v in values if np.isfinite(v)]
            assert least[row, x] == min(values, default=np.inf)
            assert most[row, x] == max(values, default=-np.inf)
