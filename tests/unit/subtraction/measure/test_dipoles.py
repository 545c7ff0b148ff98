import numpy as np
import pytest
from tests.unit.subtraction.measure.stamps_of_gaussians import HALF, gaussian, psf_at_centre

from residua.subtraction.measure.dipoles import fit_dipoles, opposite_lobes

SHAPE = (1, 2 * HALF + 1, 2 * HALF + 1)
GOOD = np.ones(SHAPE, bool)
OWN, OTHER = (np.array([1.5]), np.zeros(1)), (np.array([-2.5]), np.zeros(1))


def fitted(own, other, good=GOOD):
    image = (own * gaussian(1.5, 0.0) + other * gaussian(-2.5, 0.0))[None]
    return fit_dipoles(image, np.full(SHAPE, 4.0), good, psf_at_centre(1), OWN, OTHER)


def test_two_lobes_of_opposite_sign_are_a_dipole_with_their_fluxes():
    found = fitted(900.0, -800.0)
    assert (found.own, found.other) == (
        pytest.approx(900.0, rel=1e-3),
        pytest.approx(-800.0, rel=1e-3),
    )
    assert found.is_dipole.all()
    assert found.chi2 == pytest.approx(0.0, abs=1e-2)
    assert found.own_error == pytest.approx(found.other_error, rel=0.01)
    assert found.pixels == GOOD.size


@pytest.mark.parametrize(
    ("own", "other"), [(900.0, 800.0), (900.0, -100.0), (900.0, 0.0), (30, -28)]
)
def test_like_signs_one_strong_lobe_and_noise_are_none(own, other):
    assert not fitted(own, other).is_dipole.any()


def test_masked_pixels_count_for_nothing():
    good = GOOD.copy()
    good[0, HALF + 1] = False
    found = fitted(900.0, -800.0, good)
    assert found.own == pytest.approx(900.0, rel=1e-3)


def test_the_other_lobe_is_the_strongest_pixel_of_the_other_sign_within_reach():
    sn = np.zeros(SHAPE)
    sn[0, HALF - 2, HALF + 3], sn[0, HALF, HALF + 1], sn[0, HALF, 0] = -9.0, -4.0, -50.0
    sn[0, HALF + 1, HALF] = np.nan
    dx, dy, found = opposite_lobes(sn, np.ones(1), 4.0)
    assert (dx[0], dy[0], found[0]) == (3.0, -2.0, True)
    assert not opposite_lobes(sn, -np.ones(1), 4.0)[2].any()
    assert not opposite_lobes(sn / 4.0, np.ones(1), 4.0)[2].any()
