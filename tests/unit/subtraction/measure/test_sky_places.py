"""Errors of places on the sky, against the geometry of a known projection."""

import numpy as np
import pytest
from astropy.wcs import WCS

from residua.subtraction.measure.sky_places import scale_at_centre, sky_columns

SCALE = 0.2 / 3600.0


def turned(degrees, dec=-60.0, ra=0.0):
    """A tangent plane whose y axis lies at an angle east of north."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [1.0, 1.0]
    angle = np.radians(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    wcs.wcs.cd = SCALE * np.array([[-cos, sin], [sin, cos]])
    return wcs


def test_errors_turn_with_the_image():
    # Known to 0.3 px along x, 0.1 px along y.
    x = y = np.zeros(1)
    xx, yy, xy = np.array([0.09]), np.array([0.01]), np.zeros(1)
    straight = sky_columns(x, y, xx, yy, xy, turned(0.0))
    assert straight["ra_error"] == pytest.approx(0.3 * SCALE, rel=1e-5)
    assert straight["dec_error"] == pytest.approx(0.1 * SCALE, rel=1e-5)
    assert straight["ra_dec_covariance"] == pytest.approx(0.0, abs=1e-6 * SCALE**2)
    quarter = sky_columns(x, y, xx, yy, xy, turned(90.0))
    assert quarter["ra_error"] == pytest.approx(0.1 * SCALE, rel=1e-5)
    assert quarter["dec_error"] == pytest.approx(0.3 * SCALE, rel=1e-5)
    diagonal = sky_columns(x, y, xx, yy, xy, turned(45.0))
    assert np.abs(diagonal["ra_dec_covariance"]) == pytest.approx(0.04 * SCALE**2, rel=1e-5)


def test_right_ascension_counts_on_the_circle_and_over_zero():
    # x leads from 0 h to just below 24 h: the difference of one pixel is no whole turn.
    found = sky_columns(
        np.array([-0.5, 0.5]), np.zeros(2), np.full(2, 0.04), np.full(2, 0.04), np.zeros(2),
        turned(0.0),
    )  # fmt: skip
    assert found["ra"][0] < 1.0
    assert found["ra"][1] > 359.0
    np.testing.assert_allclose(found["ra_error"], 0.2 * SCALE, rtol=1e-5)


def test_scale_is_that_of_the_centre():
    assert scale_at_centre(turned(30.0), (400, 600)) == pytest.approx(0.2, rel=1e-5)
