"""Names of filters, as the headers of observatories write them."""

import re

import pytest
from astropy.io import fits

from residua.instruments import InstrumentRegistry
from residua.instruments.filter_names import band_of_name, filter_name, same_filter
from residua.storage.conventions.filter_cards import read_filter

REGISTRY = InstrumentRegistry()

NAMES = [
    # name, band, system
    ("r", "r", None),
    ("V", "V", None),
    ("q", "q", None),
    ("Ks", "Ks", None),
    ("W1", "W1", None),
    ("rp", "rp", None),
    ("VIS", "VIS", None),
    ("F814W", "F814W", None),
    ("og515+kg5", "og515+kg5", None),
    ("SDSS r", "r", "sdss"),
    ("SDSS g", "g", "sdss"),
    ("SDSS_g", "g", "sdss"),
    ("sdss_r", "r", "sdss"),
    ("SDSSr", "r", "sdss"),
    ("2: SDSSr", "r", "sdss"),
    ("Sloan_r", "r", "sdss"),
    ("Sloan r'", "r", "sdss"),
    ("r SDSS", "r", "sdss"),
    ("g'", "g", "sdss"),
    ("PS1_r", "r", "ps1"),
    ("Pan-STARRS r", "r", "ps1"),
    ("r.00000", "r", "ps1"),
    ("ZTF_g", "g", "ztf"),
    ("ZTF_r", "r", "ztf"),
    ("HSC-R", "r", "hsc"),
    ("HSC-R2", "r", "hsc"),
    ("HSC-Y", "y", "hsc"),
    ("r_03", "r", "lsst"),
    ("y_10", "y", "lsst"),
    ("i DECam SDSS c0003 7835.0 1470.0", "i", "decam"),
    ("Y DECam c0005 10095.0 1130.0", "Y", "decam"),
    ("VR DECam c0007 6300.0 2600.0", "VR", "decam"),
    ("r.MP9601", "r", "MP9601"),
    ("r.MP9602", "r", "MP9602"),
    ("Johnson V", "V", "bessell"),
    ("Johnson_B", "B", "bessell"),
    ("johnson_V", "V", "bessell"),
    ("Johnson R", "R", "johnson"),
    ("Bessel V", "V", "bessell"),
    ("Bessell_R", "R", "bessell"),
    ("Cousins R", "R", "bessell"),
    ("V (Bessell)", "V", "bessell"),
    ("Astrodon_I", "I", "astrodon"),
    ("#2 V", "V", None),
    ("6 (gp)", "gp", None),
    ("ESO_V_HIGH", "ESO_V_HIGH", None),
    ("H-alpha", "H-alpha", None),
]


@pytest.mark.parametrize(("name", "band", "system"), NAMES, ids=[n[0] for n in NAMES])
def test_names_mean_bands(name, band, system):
    found = filter_name(name)
    assert (found.band, found.system) == (band, system)
    assert re.fullmatch(r"[A-Za-z0-9_+-]{1,10}", found.band)


@pytest.mark.parametrize("name", ["SDSS", "ZTF", "Bessell", "Pan-STARRS", "", "  "])
def test_a_set_of_filters_is_no_filter(name):
    assert filter_name(name) is None


def test_long_names_stay_apart():
    names = [f"Chroma H-alpha {width} nm bandpass" for width in (3, 5, 8)]
    bands = {band_of_name(n) for n in names}
    assert len(bands) == 3
    assert all(re.fullmatch(r"[A-Za-z0-9_+-]{1,10}", b) for b in bands)


@pytest.mark.parametrize(
    ("one", "other", "band", "same"),
    [
        ("SDSS r", "PS1 r", "r", False),
        ("SDSS r", "r", "r", True),
        ("SDSS r", "sdss_r", "r", True),
        ("SDSS r", None, "r", True),
        (None, "r_03", "r", True),
        ("r_03", "r_57", "r", True),
        ("Cousins R", "Bessell R", "R", True),
        ("Johnson R", "Bessell R", "R", False),
        ("r.MP9601", "r.MP9602", "r", False),
        # Mapped by hand: the operator said that this glass makes r.
        ("Luminance", "SDSS r", "r", True),
        ("gp", "gp", "gp", True),
    ],
)
def test_the_same_glass(one, other, band, same):
    assert same_filter(one, other, band) is same
    assert same_filter(other, one, band) is same


@pytest.mark.parametrize(
    ("cards", "band", "physical"),
    [
        ({"FILTER": "SDSS r"}, "r", "SDSS r"),
        ({"FILTER1": "CLEAR1L", "FILTER2": "F814W"}, "F814W", "F814W"),
        ({"FILTER1": "F606W", "FILTER2": "CLEAR2L"}, "F606W", "F606W"),
        ({"FILTER": "CLEAR", "FILTER2": "V"}, "V", "V"),
        ({"FILTER1": "air", "FILTER2": "rp", "FILTER3": "air"}, "rp", "rp"),
        ({"FILTER1": "ND1", "FILTER2": "B"}, "ND1+B", "ND1+B"),
        ({"FILTNAM": "g"}, "g", "g"),
        ({"FPA.FILTERID": "i.00000"}, "i", "i.00000"),
        ({"FILTER": "F150W2", "PUPIL": "F162M"}, band_of_name("F150W2+F162M"), "F150W2+F162M"),
        ({"FILTER": "F200W", "PUPIL": "CLEAR"}, "F200W", "F200W"),
        ({"FILTER": "Clear"}, "clear", "clear"),
        ({"FILTER": "Open"}, "clear", "clear"),
        ({"FILTER": "none"}, None, None),
        ({"FILTER": "NULL"}, None, None),
        ({"FILTER": "N/A", "BAND": "r"}, "r", None),
        ({"FILTER": 3}, None, None),
        ({"FILTER": "2"}, None, None),
        ({"BAND": 1, "FILTER": "W1"}, "W1", "W1"),
        ({"FILTER": "SDSS"}, None, "SDSS"),
        ({"FILTER": "Lum", "BAND": "L"}, "L", "Lum"),
        ({}, None, None),
    ],
)
def test_cards_and_wheels(cards, band, physical):
    header = fits.Header()
    for key, value in cards.items():
        header[f"HIERARCH {key}" if "." in key else key] = value
    found = read_filter(header, REGISTRY.get("Nobodys"))
    assert (found.band, found.physical_filter) == (band, physical)


def test_what_was_assumed_is_said():
    header = fits.Header({"FILTER": "Clear"})
    assert "no filter in the beam" in read_filter(header, REGISTRY.get("X")).notes[0]
    header = fits.Header({"FILTER": "SDSS r"})
    assert "band r" in read_filter(header, REGISTRY.get("X")).notes[0]
