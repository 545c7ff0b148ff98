"""A handful of stars: their flux ratio is that of most of them."""

import numpy as np
import pytest
from tests.unit.subtraction.match.test_kernel import HALF_WIDTH, SHAPE, groups, pair

from residua.subtraction.config import SubtractionConfig
from residua.subtraction.errors import InsufficientKernelStarsError
from residua.subtraction.images import SpatialPolynomial
from residua.subtraction.match.few.star_scales import stars_that_agree
from residua.subtraction.match.kernel import fit_kernel, kernel_equations
from residua.subtraction.match.spatial_fit import KernelModel

SCALE = 0.9


def changed(n, factors, brighter=1.0, seed=2):
    """A pair whose stars have changed by factors, and whose first star is brighter in both."""
    factor = np.array([factors.get(k, 1.0) for k in range(n)])
    return pair(n, seed=seed, changes=factor, brightness=np.append(brighter, np.ones(n - 1)))


def fit(science, template, noise, stars):
    return fit_kernel(
        science, template, noise, stars, SubtractionConfig(),
        convolved="template", half_width=HALF_WIDTH, groups=groups(),
    )  # fmt: skip


@pytest.mark.parametrize("seed", [21, 22])
@pytest.mark.parametrize("n", [3, 4, 6, 9])
@pytest.mark.parametrize("factor", [0.6, 0.9, 1.3])
def test_the_brightest_of_a_handful_does_not_set_the_scale(n, factor, seed):
    result = fit(*changed(n, {0: factor}, brighter=10.0, seed=seed))
    assert result.kernel.stamp(150, 152).sum() == pytest.approx(SCALE, rel=0.01)
    assert result.stars >= 3
    assert result.scale_error < 0.03


def test_a_blended_or_saturated_star_is_left_out():
    science, template, noise, stars = changed(6, {0: 1.0}, brighter=40.0)
    peak = science[stars.y[0], stars.x[0]]
    flat = np.where(science > 0.4 * peak, 0.4 * peak + 0.3 * (science - 0.4 * peak), science)
    result = fit(flat.astype(np.float32), template, noise, stars)
    assert result.rejected == 1
    assert result.kernel.stamp(150, 152).sum() == pytest.approx(SCALE, rel=0.01)


def test_what_is_only_in_one_image_is_no_star_of_the_kernel():
    science, template, noise, stars = changed(5, {0: 3.5})
    result = fit(science, template, noise, stars)
    assert result.stars == 4
    assert result.kernel.stamp(150, 152).sum() == pytest.approx(SCALE, rel=0.01)


def test_stars_of_which_no_majority_agrees_are_refused():
    with pytest.raises(InsufficientKernelStarsError, match="do not agree on the flux ratio") as e:
        fit(*changed(4, {0: 1.0, 1: 1.3, 2: 0.7, 3: 1.7}))
    assert e.value.numbers["kernel_scale_spread"] > 0.1


def test_a_scale_that_one_bright_star_knows_alone_has_the_error_of_the_others():
    faint = np.array([1.0, 0.001, 0.001, 0.001])
    assert fit(*pair(4, brightness=faint)).scale_error > 0.03


def test_stars_that_agree_are_left_as_they_are():
    science, template, noise, stars = pair(6)
    _, equations = kernel_equations(
        science, template, noise, stars, SubtractionConfig(),
        convolved="template", half_width=HALF_WIDTH, groups=groups(),
    )  # fmt: skip
    simple = KernelModel(np.arange(4), SpatialPolynomial(SHAPE, 0), SpatialPolynomial(SHAPE, 0))
    agreed = stars_that_agree(equations, simple, 3)
    assert agreed.equations is equations
