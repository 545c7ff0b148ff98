"""Units and zero points, as the headers of observatories write them; truth by hand."""

import math

import pytest
from astropy.io import fits

from residua.errors import UnknownUnitError
from residua.storage.conventions.flux import calibrate
from residua.storage.conventions.units import pixel_unit


def nano(zero_point):
    return 10.0 ** (0.4 * (31.4 - zero_point))


def scaling(cards, **options):
    header = fits.Header()
    for key, value in cards.items():
        header[f"HIERARCH {key}" if "." in key else key] = value
    return calibrate(header.get("BUNIT"), header, "x.fits", **options)


COUNTS = [
    *[(t, "adu", False) for t in ("", "ADU", "adu", "DN", "counts", "COUNTS", "count", "ct")],
    *[(t, "electron", False) for t in ("e-", "electrons", "ELECTRONS", "electron", "e")],
    *[(t, "adu", True) for t in ("adu/s", "COUNTS/S", "DN/sec", "count/sec", "ADU per second")],
    *[(t, "adu", True) for t in ("DN/s", "ct / s", "adu s-1", "counts s**-1", "ADU/SEC")],
    *[(t, "electron", True) for t in ("ELECTRONS/S", "electrons/sec", "e-/s", "electron s-1")],
    *[(t, "adu", False) for t in ("counts/pixel", "DN / pix")],
]


@pytest.mark.parametrize(("text", "label", "rate"), COUNTS, ids=[c[0] for c in COUNTS])
def test_counts_and_rates(text, label, rate):
    found = pixel_unit(text, "x")
    assert (found.label.split()[0], found.rate, found.to_njy) == (label, rate, None)
    assert found.electrons is (label == "electron")


FLUXES = [
    ("nJy", 1.0),
    ("uJy", 1e3),
    ("microJy", 1e3),
    ("mJy", 1e6),
    ("Jy", 1e9),
    ("MJy", 1e15),
    ("JY", 1e9),
    ("nanomaggy", 3631.0),
    ("nanomaggies", 3631.0),
    ("nmgy", 3631.0),
    ("maggy", 3631e9),
    ("erg/s/cm2/Hz", 1e32),
    ("erg s-1 cm-2 Hz-1", 1e32),
    ("W/m2/Hz", 1e35),
    ("MJy/sr", 1e15 * 1e-13),
    ("erg/s/cm2/A", 1e32 * 5000.0**2 / 2.99792458e18),
    ("ERG/S/CM2/ANGSTROM", 1e32 * 5000.0**2 / 2.99792458e18),
]


@pytest.mark.parametrize(("text", "factor"), FLUXES, ids=[f[0] for f in FLUXES])
def test_flux_densities(text, factor):
    found = pixel_unit(text, "x", pixel_area=1e-13, pivot_wavelength=5000.0)
    assert found.to_njy == pytest.approx(factor, rel=1e-6)


@pytest.mark.parametrize("text", ["furlong", "K", "mag", "Jy/beam", "MJy/sr", "erg/s/cm2/A"])
def test_what_is_neither_is_refused(text):
    with pytest.raises(UnknownUnitError):
        pixel_unit(text, "x.fits")


T43 = 2.5 * math.log10(43.0)
HST = -2.5 * math.log10(7e-20) - 21.10 - 5 * math.log10(8045.0) + 18.6921
ZERO_POINTS = [
    ({"MAGZERO": 27.0}, "r", 27.0),
    ({"MAGZERO": "27.0"}, "r", 27.0),
    ({"MAGZP": 26.2, "INSTRUME": "ZTF/MOSAIC"}, "r", 26.2),
    ({"PHOTZP": 25.0}, "r", 25.0),
    ({"IMAGEZPT": 26.8}, "R", 26.8),
    ({"MAGZEROP": 24.57}, "VIS", 24.57),
    ({"ZPAPPROX": 27.5}, "g", 27.5),
    ({"FLUXMAG0": 10 ** (0.4 * 27.0)}, "r", 27.0),
    ({"MAGZPT": 22.5}, "o", 22.5 + T43),
    ({"MAGZPT": 22.5, "BUNIT": "adu/s"}, "o", 22.5),
    ({"FPA.ZP": 25.0}, "r", 25.0 + T43),
    ({"L1ZP": 23.5}, "rp", 23.5 + T43),
    ({"PC-ZP": 23.3, "BUNIT": "e-"}, "q", 23.3 + T43),
    ({"PC-ZP": 23.3, "PC-EXTCO": 0.2, "AIRMASSC": 1.5, "BUNIT": "e-"}, "q", 23.0 + T43),
    ({"PHOTFLAM": 7e-20, "PHOTPLAM": 8045.0, "BUNIT": "ELECTRONS/S"}, "F814W", HST),
    ({"PHOTFLAM": 7e-20, "PHOTPLAM": 8045.0, "BUNIT": "ELECTRONS"}, "F814W", HST + T43),
    ({"MAGZP": 20.5, "TELESCOP": "WISE"}, "W1", 20.5 + 2.699),
    ({"MAGZP": 19.5, "TELESCOP": "WISE"}, "W2", 19.5 + 3.339),
    ({"MAGZP": 20.0, "ORIGIN": "2MASS"}, "J", 20.91),
    ({"MAGZPT": 23.0, "INSTRUME": "VIRCAM"}, "Ks", 23.0 + T43 + 1.827),
    ({"MAGZPT": 23.0, "INSTRUME": "WFCAM"}, "K", 23.0 + T43 + 1.9),
    ({"PHOTZP": 25.0, "PHOTSYS": "VEGA"}, "V", 25.02),
    ({"PHOTZP": 25.0, "PHOTSYS": "AB"}, "Ks", 25.0),
    ({"MAGZERO": 25.0, "MAGSYS": "Vega"}, "r", 25.16),
    # Most infrared zero points are Vega's: without a word on it neither is assumed.
    ({"MAGZPT": 23.0}, "Ks", None),
    ({"MAGZERO": 25.0, "MAGSYS": "Vega"}, "F814W", None),
    ({"MAGZERO": -5.0}, "r", None),
    ({"MAGZERO": "unknown"}, "r", None),
    ({}, "r", None),
]


@pytest.mark.parametrize(
    ("cards", "band", "truth"), ZERO_POINTS, ids=[str(z[0]) for z in ZERO_POINTS]
)
def test_zero_points(cards, band, truth):
    found = scaling(cards, band=band, exposure_time=43.0)
    assert found.scaling == (None if truth is None else pytest.approx(nano(truth), rel=1e-6))
    assert found.unit == ("nJy" if truth is not None else found.native_unit)


def test_what_is_there_and_not_used_is_named():
    found = scaling({"MAGZPT": 23.0, "ZPTB": 25.1, "MAGZRR": 0.02}, band="Ks", exposure_time=10.0)
    assert "MAGZPT = 23 may be a Vega magnitude of band Ks" in found.notes[1]
    assert "ZPTB" not in found.source
    assert any("PHOTFLAM" in n for n in scaling({"PHOTFLAM": 1e-19}).notes)
    assert scaling({"MAGZERO": 27.0}).source == "MAGZERO = 27 (AB, per exposure)"
    assert scaling({"MAGZERO": 27.0}, zero_point=20.0).zero_point == 27.0
    assert scaling({}, zero_point=20.0).zero_point == 20.0
