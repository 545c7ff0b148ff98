"""Who a file is: different files stay different, and nothing is taken for a name that is none."""

from datetime import datetime

import pytest
from astropy.io import fits

from residua.errors import SharedIdentityError, UnusableImageError
from residua.instruments import Instrument, InstrumentRegistry
from residua.simulation.input_files import write_plain_fits
from residua.storage.conventions.file_identity import derived_visit, read_identity, visit_of_time
from residua.storage.describe import describe_template, describe_visit_image
from residua.storage.distinct import distinct_arrivals, distinct_templates
from residua.storage.read.header_metadata import metadata_from_header

REGISTRY = InstrumentRegistry()
BEGIN = datetime.fromisoformat("2026-01-05T03:00:00.250")


def identity(instrument="Nobodys", **cards):
    options = {k: cards.pop(k) for k in ("visit_from", "detector_from") if k in cards}
    known = instrument if isinstance(instrument, Instrument) else REGISTRY.get(instrument)
    found = read_identity(fits.Header(cards.items()), known, BEGIN, **options)
    return found.visit, found.detector


@pytest.mark.parametrize(
    ("instrument", "cards", "visit", "detector"),
    [
        ("DECam", {"EXPNUM": 4711, "CCDNUM": 37, "DETECTOR": "S3-177"}, 4711, 37),
        ("LSSTCam", {"VISIT": 5, "DETECTOR": 94}, 5, 94),
        ("LSSTCam", {"VISIT": "0005", "DETECTOR": "R22_S11"}, 5, 94),
        ("Nobodys", {"EXPNUM": 1, "CCD": 2}, None, 2),
        ("Nobodys", {"EXPNUM": 1, "visit_from": "EXPNUM"}, 1, None),
        ("Nobodys", {"visit_from": "time"}, 2026010510800250, None),
        ("Nobodys", {"LSST BUTLER DATAID VISIT": 7, "LSST BUTLER DATAID DETECTOR": 3}, 7, 3),
        ("DECam", {"EXPNUM": 4711, "visit_from": "name"}, None, None),
        (Instrument("X", "Y", visit_from=("time",)), {}, visit_of_time(BEGIN), None),
        (Instrument("X", "Y", {}, detectors={45: "12/2"}), {"EXPNUM": 3}, 3, None),
        (
            Instrument("X", "Y", detectors={45: "12/2"}, detector_from=("CCDID/QID",)),
            {"CCDID": 12, "QID": 2.0},
            None,
            45,
        ),
    ],
)
def test_cards_are_believed_where_somebody_described_them(instrument, cards, visit, detector):
    assert identity(instrument, **cards) == (visit, detector)


def test_joined_and_named_detectors_stay_apart():
    found = {
        identity(CCDID=1, QID=12),
        identity(CCDID=11, QID=2),
        identity(CCDID=12, QID=2),
        identity(CAMERA=1, CCD=2),
        identity(CAMERA=2, CCD=2),
        identity(DETECTOR="NRCA1"),
        identity(DETECTOR="NRCB1"),
        identity(detector_from="CHIP", CHIP="left"),
        identity(QID=2),
    }
    # (CCDID, QID) = (12, 2) and (CAMERA, CCD) = (1, 2) are not of the same camera.
    assert len(found) == 9
    assert all(0 <= detector < 2**31 for _, detector in found)


def test_joined_visits_stay_apart_and_fit_json():
    numbers = [identity(visit_from="A/B", A=a, B=b)[0] for a, b in ((1, 12), (11, 2), (1, 2))]
    assert len(set(numbers)) == 3
    assert all(10**15 <= n < 2**53 for n in numbers)
    with pytest.raises(UnusableImageError, match="no A/B card"):
        identity(visit_from="A/B", A=1)
    with pytest.raises(UnusableImageError, match="no Q card"):
        identity(detector_from="Q")


def test_a_number_that_is_passed_over_is_said():
    found = read_identity(fits.Header({"EXPNUM": 1}), REGISTRY.get("Nobodys"), BEGIN)
    assert "EXPNUM=1 not taken" in found.notes[0]
    assert "--visit-from EXPNUM" in found.notes[0]


def test_the_filter_is_no_witness_of_the_camera():
    header = fits.Header()
    header["INSTRUME"] = "Mosaic3"
    header["TELESCOP"] = "KPNO 4.0 meter telescope"
    header["FILTER"] = "zd DECam SDSS c0004 9260.0 1520.0"
    found = metadata_from_header(header, REGISTRY)
    assert (found.instrument, found.facility_name) == ("Mosaic3", "KPNO 4.0 meter telescope")
    header["INSTRUME"] = "DECam"
    assert metadata_from_header(header, REGISTRY).facility_name == "CTIO:Blanco"


@pytest.mark.parametrize(
    ("cards", "facility"),
    [
        ({"TELESCOP": "Liverpool Telescope", "INSTRUME": "RISE"}, "Liverpool Telescope"),
        ({"OBSERVAT": "CTIO", "TELESCOP": "1.3m"}, "CTIO:1.3m"),
        ({"INSTRUME": "RISE"}, None),
    ],
)
def test_the_facility_is_the_telescope_and_not_the_camera(cards, facility):
    assert metadata_from_header(fits.Header(cards.items()), REGISTRY).facility_name == facility


def test_made_up_visits_differ_by_name_and_by_start():
    one = derived_visit("/night1/img001.fits", BEGIN)
    assert one == derived_visit("/elsewhere/img001.fits", BEGIN)
    assert one != derived_visit("/night1/img002.fits", BEGIN)
    assert one != derived_visit("/night2/img001.fits", BEGIN.replace(day=6))
    assert one != derived_visit("/night1/img001.fits")


def test_files_that_would_be_one_are_listed(tmp_path, science):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_plain_fits(tmp_path / folder / "x.fits", science)
    write_plain_fits(tmp_path / "y.fits", science)
    names = ("a/x.fits", "b/x.fits", "y.fits")
    arrivals = [describe_visit_image(str(tmp_path / n), band="r") for n in names]
    with pytest.raises(SharedIdentityError, match=r"3 visit images would be only 2: x.fits, x"):
        distinct_arrivals(arrivals)
    distinct_arrivals(arrivals[1:])
    templates = [describe_template(str(tmp_path / n), band="r") for n in names]
    with pytest.raises(SharedIdentityError, match=r"3 templates would be only 2"):
        distinct_templates(templates)
