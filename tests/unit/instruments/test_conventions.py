"""One synthetic header in the convention of each shipped instrument, read by its description."""

import pytest
from astropy.io import fits

from residua.instruments import InstrumentRegistry
from residua.instruments.file import InstrumentFile
from residua.storage.conventions.flux import calibrate
from residua.storage.read.header_metadata import metadata_from_header
from residua.subtraction.masks import MaskBit

REGISTRY = InstrumentRegistry()

HEADERS = {
    # instrument: cards, (facility, visit, detector, band, physical filter)
    "ZTF": (
        {"INSTRUME": "ZTF/MOSAIC", "TELESCOP": "P48", "FILTER": "ZTF_r", "EXPID": 54848160}
        | {"CCDID": 12, "QID": 2, "RCID": 45, "OBSMJD": 58304.4816, "MAGZP": 26.2},
        ("Palomar:P48", 54848160, 45, "r", "ZTF_r"),
    ),
    "PS1": (
        {"FPA.TELESCOPE": "PS1", "FPA.INSTRUMENT": "GPC1", "FPA.FILTERID": "r.00000"}
        | {"FPA.ID": 812345, "MJD-OBS": 56000.5, "EXPTIME": 43.0, "FPA.ZP": 25.0},
        ("Haleakala:PS1", 812345, None, "r", "r.00000"),
    ),
    "SkyMapper": (
        {"INSTRUME": "SkyMapper", "FILTNAM": "g", "IMAGEID": 20140405101010, "CCD": 17}
        | {"ZPAPPROX": 27.5, "DATE-OBS": "2014-04-05T10:10:10"},
        ("SSO:SkyMapper", 20140405101010, 17, "g", "g"),
    ),
    "LCO": (
        {"INSTRUME": "fa15", "TELESCOP": "1m0-05", "SITEID": "cpt", "FILTER": "rp"}
        | {"ORIGNAME": "cpt1m010-fa15-20230404-0123-e00", "FRAMENUM": 123, "L1ZP": 23.5}
        | {"EXPTIME": 120.0, "BUNIT": "electron"},
        ("LCO", "hashed", "hashed", "rp", "rp"),
    ),
    "HSC": (
        {"INSTRUME": "Hyper Suprime-Cam", "TELESCOP": "Subaru", "FILTER01": "HSC-R2"}
        | {
            "EXP-ID": "HSCA01234500",
            "FRAMEID": "HSCA01234501",
            "DET-ID": 45,
            "DATE-OBS": "2020-01-05",
            "UT": "10:00:00",
        },
        ("MaunaKea:Subaru", 12345, 45, "r", "HSC-R2"),
    ),
    "MegaPrime": (
        {"INSTRUME": "MegaPrime", "TELESCOP": "CFHT 3.6m", "FILTER": "r.MP9602"}
        | {"OBSID": 1234567, "EXTNAME": "ccd07", "IMAGEID": 7, "DETECTOR": "MegaCam"},
        ("MaunaKea:CFHT", 1234567, 7, "r", "r.MP9602"),
    ),
    "KMTNet": (
        {"INSTRUME": "KMTS", "TELESCOP": "KMTNet 1.6m", "FILTER": "I", "CHIP": "M", "EXPNUM": 1}
        | {"DATE-OBS": "2020-07-01T20:00:00"},
        ("KMTNet", 2020070172037000, 1, "I", "I"),
    ),
    "MeerLICHT": (
        {"INSTRUME": "ML1", "TELESCOP": "ML1", "FILTER": "q", "MJD-OBS": 59613.25}
        | {"PC-ZP": 23.3, "BUNIT": "e-", "EXPTIME": 60.0},
        ("SAAO:MeerLICHT", 2022020321637000, None, "q", "q"),
    ),
    "BlackGEM": (
        {"INSTRUME": "BG3", "TELESCOP": "BG3", "FILTER": "u", "MJD-OBS": 60200.25},
        ("LaSilla:BlackGEM", 2023091321637000, 3, "u", "u"),
    ),
    "GOTO": (
        {"TELESCOP": "GOTO-1", "INSTRUME": "UT4", "FILTER": "L", "TEL": 1, "RUN": 123456, "UT": 4},
        ("GOTO", 1030702615200679, 4, "L", "L"),
    ),
    "LT-IOO": (
        {"INSTRUME": "IO:O", "TELESCOP": "Liverpool Telescope", "FILTER1": "SDSS-R"}
        | {
            "FILTER2": "clear",
            "FILTER3": "clear",
            "EXPNUM": 1,
            "DATE-OBS": "2020-08-30T21:36:59.1",
        },
        ("ORM:Liverpool", 2020083077856100, None, "r", "SDSS-R"),
    ),
    "TESS": (
        {"TELESCOP": "TESS", "INSTRUME": "TESS Photometer", "CAMERA": 1, "CCD": 2}
        | {"FFIINDEX": 5197, "EXPOSURE": 0.0165, "DATE-OBS": "2018-09-15T20:44:30.000Z"},
        ("TESS", 5197, 2, "TESS", "TESS"),
    ),
    "NIRCam": (
        {"TELESCOP": "JWST", "INSTRUME": "NIRCAM", "DETECTOR": "NRCA1", "FILTER": "F150W2"}
        | {"PUPIL": "F162M", "VISIT": "001", "VISIT_ID": "01324001001", "EXPOSURE": "00003"},
        ("JWST", "hashed", 0, "F162M", "F150W2+F162M"),
    ),
    "ACS": (
        {"TELESCOP": "HST", "INSTRUME": "ACS", "DETECTOR": "WFC", "CCDCHIP": 2}
        | {"FILTER1": "CLEAR1L", "FILTER2": "F814W", "ROOTNAME": "j8xi0xsaq", "EXPSTART": 55259.2},
        ("HST", "hashed", 2, "F814W", "F814W"),
    ),
    "DECam": (
        {"INSTRUME": "DECam", "TELESCOP": "CTIO 4.0-m telescope", "EXPNUM": 4711, "CCDNUM": 37}
        | {"FILTER": "i DECam SDSS c0003 7835.0 1470.0", "DETECTOR": "S3-177_107419-14-1"},
        ("CTIO:Blanco", 4711, 37, "i", "i DECam SDSS c0003 7835.0 1470.0"),
    ),
    "LSSTCam": (
        {"INSTRUME": "LSSTCam", "VISIT": 2026112200123, "DETECTOR": "R22_S11", "FILTER": "r_57"},
        ("Rubin:Simonyi", 2026112200123, 94, "r", "r_57"),
    ),
    "WISE": (
        {"TELESCOP": "WISE", "INSTRUME": "WISE", "BAND": 1, "SCAN": "01234a", "FRNUM": 56}
        | {"MAGZP": 20.5, "DATE-OBS": "2010-05-01T01:02:03.4"},
        ("WISE", "hashed", 1, "W1", "1"),
    ),
    "LSSTComCam": (
        {"INSTRUME": "LSSTComCam", "VISIT": 2024112200123, "DETECTOR": 4, "FILTER": "r_03"},
        ("Rubin:Simonyi", 2024112200123, 4, "r", "r_03"),
    ),
}


def header_of(name):
    header = fits.Header()
    for key, value in HEADERS[name][0].items():
        header[f"HIERARCH {key}" if len(key) > 8 or "." in key else key] = value
    return header


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_of_its_convention(name):
    found = metadata_from_header(header_of(name), REGISTRY)
    facility, visit, detector, band, physical_filter = HEADERS[name][1]
    assert found.instrument == name
    assert found.facility_name == facility
    assert (found.band, found.physical_filter) == (band, physical_filter)
    if visit == "hashed":
        assert 10**15 <= found.visit < 2**53
    else:
        assert found.visit == visit
    if detector == "hashed":
        assert 10**6 <= found.detector < 2**31
    else:
        assert found.detector == detector


@pytest.mark.parametrize(
    ("name", "zero_point"),
    [
        ("ZTF", 26.2),
        ("PS1", 29.0837),
        ("SkyMapper", 27.5),
        ("LCO", 28.6980),
        ("MeerLICHT", 27.7454),
        ("WISE", 23.199),
    ],
)
def test_its_zero_point(name, zero_point):
    header = header_of(name)
    found = metadata_from_header(header, REGISTRY)
    calibration = calibrate(
        header.get("BUNIT"),
        header,
        name,
        instrument=REGISTRY.get(name),
        band=found.band,
        exposure_time=found.exposure_time,
    )
    assert calibration.zero_point == pytest.approx(zero_point, abs=1e-3)


def test_the_translator_of_a_camera_numbers_its_visits_as_butler_does():
    hsc = fits.Header({"INSTRUME": "Hyper Suprime-Cam", "TELESCOP": "Subaru", "FILTER01": "HSC-R"})
    hsc.update({"EXP-ID": "HSCA01234500", "FRAMEID": "HSCA01234500", "DET-ID": 12})
    hsc.update({"DATE-OBS": "2020-01-05", "UT": "10:00:00.0", "UT-END": "10:05:00.0"})
    found = metadata_from_header(hsc, REGISTRY)
    assert found.instrument == "HSC"
    assert found.visit is not None
    other = hsc.copy()
    other["EXP-ID"] = other["FRAMEID"] = "HSCA01234700"
    assert metadata_from_header(other, REGISTRY).visit != found.visit
    stated = metadata_from_header(hsc, REGISTRY, visit_from="DET-ID")
    assert stated.visit == 12


def test_tess_counts_its_exposures_in_days():
    found = metadata_from_header(header_of("TESS"), REGISTRY)
    assert found.exposure_time == pytest.approx(1425.6)


def test_other_telescopes_with_such_a_camera_are_not_taken_for_it():
    for cards in (
        {"TELESCOP": "WHT", "INSTRUME": "ACS2"},
        {"TELESCOP": "Swope LCO", "INSTRUME": "Direct"},
        {"TELESCOP": "Liverpool Telescope", "INSTRUME": "RISE"},
        {"TELESCOP": "HST", "INSTRUME": "WFC3"},
    ):
        instrument = metadata_from_header(fits.Header(cards.items()), REGISTRY).instrument
        assert instrument == cards["INSTRUME"]


@pytest.mark.parametrize("instrument", list(REGISTRY), ids=lambda i: i.name)
def test_descriptions_hold_together(instrument):
    bands = {f.band for f in instrument.filters}
    assert bands
    assert all(name in MaskBit.__members__ for name in instrument.mask_names.values())
    assert all(n >= 0 for n in instrument.detectors)
    for f in instrument.filters:
        assert f.em_min is None or 1e-7 < f.em_min < f.em_max < 6e-6


def test_a_description_is_short():
    from importlib.resources import files

    for path in files("residua.instruments").iterdir():
        # Of Rubin's, each detector has a line of its own, with its place in the focal plane.
        if path.name.endswith(".yaml") and path.name != "LSSTCam.yaml":
            assert len(path.read_text().splitlines()) <= 90, path.name


def test_the_schema_names_every_field():
    schema = InstrumentFile.model_json_schema()
    assert all(
        "description" in field or "$ref" in field or "allOf" in field
        for field in schema["properties"].values()
    )
