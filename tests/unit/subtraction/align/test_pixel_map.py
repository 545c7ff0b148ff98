"""The pixel map against the exact chain of both WCSs, for distortions, poles and RA 0."""

import numpy as np
import pytest
from astropy.io.fits import Header
from astropy.wcs import WCS

from residua.subtraction.align.pixel_map import make_pixel_map

SHAPE = (400, 500)


def tan(ra, dec, angle=0.0, scale=0.2, size=(600, 700)):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(size[1] + 1) / 2, (size[0] + 1) / 2]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = scale / 3600 * np.array([[-c, s], [s, c]])
    wcs.wcs.set()
    return wcs


def header(projection):
    cards = Header()
    cards["NAXIS"] = 2
    cards["NAXIS1"], cards["NAXIS2"] = SHAPE[1], SHAPE[0]
    cards["CTYPE1"], cards["CTYPE2"] = f"RA---{projection}", f"DEC--{projection}"
    cards["CRVAL1"], cards["CRVAL2"] = 150.0, 2.0
    cards["CRPIX1"], cards["CRPIX2"] = 250.0, 200.0
    cards["CUNIT1"] = cards["CUNIT2"] = "deg"
    cards["CD1_1"], cards["CD1_2"], cards["CD2_1"], cards["CD2_2"] = -7e-5, 1e-6, 1e-6, 7e-5
    return cards


def sip():
    cards = header("TAN-SIP")
    cards["A_ORDER"] = cards["B_ORDER"] = 3
    cards["A_2_0"], cards["A_1_1"], cards["B_0_2"], cards["B_2_1"] = 2e-5, -1e-5, 1.5e-5, 3e-8
    return WCS(cards)


def tpv():
    cards = header("TPV")
    for axis in (1, 2):
        cards[f"PV{axis}_0"], cards[f"PV{axis}_1"], cards[f"PV{axis}_2"] = 0.0, 1.0, 0.0
        cards[f"PV{axis}_4"], cards[f"PV{axis}_7"] = 0.2, -3.0
    return WCS(cards)


CASES = {
    "same": (tan(10, -30), tan(10, -30)),
    "rotated": (tan(10, -30, 30.0), tan(10.01, -30.01)),
    "turned round": (tan(10, -30, 187.0), tan(10.0, -30.01, 5.0)),
    "RA 0": (tan(0.001, 12, 77.0), tan(359.995, 12.003)),
    "north pole": (tan(30, 89.99, 140.0), tan(200, 89.999)),
    "south pole": (tan(30, -89.995, 12.0), tan(290, -89.999)),
    "SIP science": (sip(), tan(150, 2)),
    "SIP template": (tan(150, 2), sip()),
    "TPV science": (tpv(), tan(150, 2)),
    "TPV template": (tan(150, 2), tpv()),
}


@pytest.mark.parametrize("name", CASES)
def test_map_is_right_to_a_thousandth_of_a_pixel(name):
    science, template = CASES[name]
    pixel_map = make_pixel_map(science, template, SHAPE)
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, SHAPE[1] - 1, 500), rng.uniform(0, SHAPE[0] - 1, 500)
    expected = template.world_to_pixel_values(*science.pixel_to_world_values(x, y))
    got = pixel_map.positions(x, y)
    # The error is measured at the cells' centres; elsewhere it is hardly larger.
    assert np.hypot(got[0] - expected[0], got[1] - expected[1]).max() < 1.3e-3
    assert pixel_map.error <= 1e-3


def test_strong_distortion_refines_the_grid():
    assert make_pixel_map(*CASES["same"], SHAPE).step == 64
    assert make_pixel_map(*CASES["SIP science"], SHAPE).step < 64


def test_jacobian_is_the_derivative():
    science, template = CASES["rotated"]
    jacobian = make_pixel_map(science, template, SHAPE).jacobian(250.0, 200.0)

    def exact(x, y):
        return np.array(template.world_to_pixel_values(*science.pixel_to_world_values(x, y)))

    expected = np.array(
        [exact(251.0, 200.0) - exact(249.0, 200.0), exact(250.0, 201.0) - exact(250.0, 199.0)]
    ).T
    np.testing.assert_allclose(jacobian, expected / 2.0, atol=1e-5)


def test_other_side_of_the_sky_has_no_counterpart():
    pixel_map = make_pixel_map(tan(10, -30), tan(190, 30), SHAPE)
    assert np.isnan(pixel_map.x).all()
