"""WCSs that are none, that speak of another frame, or that only look so."""

import numpy as np
import pytest
from astropy.coordinates import FK5, SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from residua.errors import NoWcsError
from residua.storage.conventions.celestial import celestial_wcs
from residua.storage.forms.wcs import pixel_scale, rotation_angle

BASE = {
    "NAXIS": 2,
    "NAXIS1": 100,
    "NAXIS2": 80,
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 150.0,
    "CRVAL2": 2.0,
    "CRPIX1": 50.0,
    "CRPIX2": 40.0,
    "CD1_1": -1.4e-4,
    "CD1_2": 1e-5,
    "CD2_1": 1e-5,
    "CD2_2": 1.4e-4,
}


def header(**cards):
    values = {k.replace("__", "-"): v for k, v in {**BASE, **cards}.items() if v is not None}
    return fits.Header(values.items())


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"CTYPE1": None, "CTYPE2": None}, "no celestial WCS"),
        ({"CRVAL1": None}, "without CRVAL1"),
        ({"CRPIX2": None}, "without CRPIX2"),
        ({"CRVAL1": "10:00:00"}, "CRVAL1 is '10:00:00'"),
        ({"CRVAL2": 95.0}, "CRVAL2 = 95"),
        ({"CD1_1": None, "CD1_2": None, "CD2_1": None, "CD2_2": None}, "without a scale"),
        ({"CD1_1": 0.0, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.0}, "singular"),
        ({"CD1_1": 1e-4, "CD1_2": 1e-4, "CD2_1": 1e-4, "CD2_2": 1e-4}, "singular"),
        ({"CD1_1": "wide"}, "CD1_1 is 'wide'"),
        ({"CD1_1": -1.0, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1.0}, "3.6e"),
        ({"CD1_1": -1e-8, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-8}, "arcsec per pixel"),
        ({"CD1_1": -1e-3, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-5}, "longer than wide"),
        ({"CTYPE1": "RA---TNX", "CTYPE2": "DEC--TNX"}, "IRAF's TNX.*TPV"),
        ({"CTYPE1": "RA---ZPX", "CTYPE2": "DEC--ZPX"}, "IRAF's ZPX"),
        ({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}, "GLON"),
        ({"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN"}, "right ascension first"),
        ({"CTYPE1": "RA---QQQ", "CTYPE2": "DEC--QQQ"}, "RA---QQQ"),
        ({"EQUINOX": 1950.0}, "FK4"),
        ({"RADESYS": "FK4"}, "FK4"),
        ({"RADESYS": "GAPPT"}, "GAPPT"),
        ({"RADESYS": "JNOW"}, "JNOW"),
        ({"EQUINOX": "now"}, "EQUINOX 'now'"),
        ({"EQUINOX": 202600.0, "RADESYS": "FK5"}, "EQUINOX 202600"),
    ],
)
def test_what_is_no_wcs_is_refused_with_its_card(cards, words):
    with pytest.raises(NoWcsError, match=words) as caught:
        celestial_wcs(header(**cards), "x.fits")
    assert "wcslib" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "cards",
    [
        {},
        {"EQUINOX": 2000.0},
        {"EQUINOX": "J2000.0"},
        {"RADESYS": "ICRS", "EQUINOX": 2023.5},
        {"RADESYS": "FK5", "EQUINOX": 2000.0},
        {"RADECSYS": "FK5"},
        {"CRVAL1": "150.0"},
        {"NAXIS": 3, "NAXIS3": 1, "WCSAXES": 3, "CTYPE3": "STOKES", "CRVAL3": 1.0},
        {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-3, "B_0_2": 1e-3},
        {"CD1_1": None, "CD1_2": None, "CD2_1": None, "CD2_2": None}
        | {"CDELT1": -np.hypot(1.4e-4, 1e-5), "CDELT2": np.hypot(1.4e-4, 1e-5)}
        | {"CROTA2": -float(np.degrees(np.arctan2(1e-5, 1.4e-4)))},
    ],
)
def test_what_is_the_same_place_is_read_as_that(cards):
    wcs, _ = celestial_wcs(header(**cards), "x.fits")
    plain = WCS(header())
    got, truth = (w.pixel_to_world_values([0.0, 99.0], [0.0, 79.0]) for w in (wcs, plain))
    assert np.allclose(got, truth, atol=1e-8 if "CROTA2" not in cards else 2e-6)


@pytest.mark.parametrize("radesys", ["FK5", None])
@pytest.mark.parametrize(("ra", "dec"), [(150.0, 2.0), (0.01, -45.0), (210.0, 89.9), (30.0, -89.5)])
@pytest.mark.parametrize("kind", ["TAN", "TPV", "TAN-SIP", "SIN"])
def test_other_equinoxes_are_precessed(radesys, ra, dec, kind):
    extra = {"PV1_1": 1.0, "PV1_4": 1e-1, "PV2_1": 1.0} if kind == "TPV" else {}
    if kind == "TAN-SIP":
        extra = {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-4, "B_0_2": 1e-4}
    place = {"CRVAL1": ra, "CRVAL2": dec, "CTYPE1": f"RA---{kind}", "CTYPE2": f"DEC--{kind}"}
    now = header(RADESYS=radesys, EQUINOX=2026.0, **place, **extra)
    wcs, notes = celestial_wcs(now, "x.fits")
    x, y = [0.0, 99.0, 30.0], [0.0, 79.0, 60.0]
    as_j2000 = celestial_wcs(header(**place, **extra), "x.fits")[0].pixel_to_world_values(x, y)
    there = SkyCoord(*as_j2000, unit="deg", frame=FK5(equinox="J2026"))
    truth = there.transform_to(FK5(equinox="J2000"))
    got = SkyCoord(*wcs.pixel_to_world_values(x, y), unit="deg")
    assert np.all(got.separation(SkyCoord(truth.ra, truth.dec)).arcsec < 2e-3)
    assert "precessed from equinox 2026" in notes[0]


def test_tables_of_distortion_come_with_their_file():
    table = np.zeros((5, 5), np.float32)
    table[:] = 0.7
    cards = header()
    cards["CPDIS1"] = "LOOKUP"
    cards["HIERARCH DP1.EXTVER"] = 1
    cards["HIERARCH DP1.NAXES"] = 2
    cards["HIERARCH DP1.AXIS.1"] = 1
    cards["HIERARCH DP1.AXIS.2"] = 2
    lookup = fits.ImageHDU(table, name="WCSDVARR")
    for axis, step in ((1, 25.0), (2, 20.0)):
        lookup.header[f"CRPIX{axis}"], lookup.header[f"CRVAL{axis}"] = 1.0, 1.0
        lookup.header[f"CDELT{axis}"] = step
    hdus = fits.HDUList([fits.PrimaryHDU(np.zeros((80, 100), np.float32), cards), lookup])
    wcs, _ = celestial_wcs(cards, "x.fits", hdus)
    moved = WCS(header()).world_to_pixel_values(*wcs.pixel_to_world_values(40.0, 40.0))
    assert moved[0] == pytest.approx(40.7, abs=1e-3)


@pytest.mark.parametrize("dec", [90.0, -90.0, 89.9997, 0.0])
def test_the_scale_is_right_at_the_poles(dec):
    wcs, _ = celestial_wcs(header(CRVAL2=dec), "x.fits")
    assert pixel_scale(wcs, (80, 100)) == pytest.approx(3600 * np.sqrt(1.4e-4**2 + 1e-10), rel=1e-5)
    assert 0.0 <= rotation_angle(wcs, (80, 100)) < 360.0


def test_leftover_sip_is_said():
    _, notes = celestial_wcs(header(A_ORDER=2, B_ORDER=2, A_2_0=1e-3), "x.fits")
    assert "not applied" in notes[0]
