import numpy as np
import pytest
from tests.unit.subtraction.measure.stamps_of_gaussians import (
    HALF,
    SIGMA,
    gaussian,
    psf_at_centre,
)

from residua.subtraction.measure.shapes import adaptive_moments, fit_trails

SHAPE = (1, 2 * HALF + 1, 2 * HALF + 1)
GOOD, ZERO = np.ones(SHAPE, bool), np.zeros(1)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("moments", [(3.0, 3.0, 0.0), (6.0, 3.0, 1.0), (2.5, 7.0, -1.5)])
def test_moments_are_the_covariance_of_a_gaussian(moments, sign):
    image = sign * 1000.0 * gaussian(0.4, -0.3, *moments)[None]
    found = adaptive_moments(image, GOOD, np.array([sign]), 3.0)
    np.testing.assert_allclose(found[0], moments, rtol=0.02, atol=0.02)


def test_no_source_has_no_moments():
    assert np.isnan(adaptive_moments(np.zeros(SHAPE), GOOD, np.ones(1), 3.0)).all()


@pytest.mark.parametrize("angle", [0.0, 0.7, -1.2])
def test_a_trail_has_its_length_angle_and_flux(angle):
    length, psf = 8.0, psf_at_centre(1)
    along = (np.arange(40) + 0.5) / 40 - 0.5
    image = (
        500.0
        * np.mean(
            [gaussian(t * length * np.cos(angle), t * length * np.sin(angle)) for t in along],
            axis=0,
        )[None]
    )
    excess = adaptive_moments(image, GOOD, np.ones(1), 3.0) - [SIGMA**2, SIGMA**2, 0.0]
    flux, found, direction = fit_trails(image, np.ones(SHAPE), GOOD, psf, (ZERO, ZERO), excess)
    assert flux == pytest.approx(500.0, rel=0.03)
    assert found == pytest.approx(length, rel=0.1)
    assert np.sin(direction - angle) == pytest.approx(0.0, abs=0.02)
