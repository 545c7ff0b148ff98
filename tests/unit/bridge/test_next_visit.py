"""From Rubin's nextVisit to announcements: what is read, what is passed over, what is refused."""

import json
import math
from datetime import datetime, timedelta

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

from residua.bridge.next_visit import announcements, read_summit_visit, sent_at
from residua.errors import MalformedEventError, UnknownInstrumentError
from residua.instruments import InstrumentRegistry
from residua.instruments.detector_footprint import detector_footprint

REGISTRY = InstrumentRegistry()

SUMMIT = {
    "private_sndStamp": 1_763_600_037.0,
    "private_rcvStamp": 1_763_600_037.1,
    "private_efdStamp": 1_763_600_000.5,
    "private_kafkaStamp": 1_763_600_037.2,
    "private_seqNum": 812,
    "private_revCode": "c9aab3df",
    "private_identity": "ScriptQueue",
    "private_origin": 4242,
    "salIndex": 1,
    "scriptSalIndex": 200_123,
    "instrument": "LSSTCam",
    "groupId": "2025-11-20T03:04:05.678",
    "coordinateSystem": 2,
    "position": [53.2, -28.1],
    "startTime": 1_763_600_067.0,
    "rotationSystem": 2,
    "cameraAngle": 31.5,
    "filters": "r_57",
    "dome": 2,
    "duration": 34.0,
    "nimages": 1,
    "survey": "BLOCK-365",
    "totalCheckpoints": 4,
}
FANNED_OUT = {k: v for k, v in SUMMIT.items() if not k.startswith("private_")} | {
    "private_sndStamp": 1_763_600_037.0,
    "detector": 94,
}


def announced(surveys=(), **changes):
    visit = read_summit_visit(SUMMIT | changes, "t/0/1")
    return announcements(visit, REGISTRY, surveys, "t/0/1")


def test_the_summit_s_message_announces_every_detector():
    events = announced()
    assert [e.detectors for e in events] == [(n,) for n in range(189)]
    assert {(e.instrument, e.band, e.visit, e.group) for e in events} == {
        ("LSSTCam", "r", None, "2025-11-20T03:04:05.678")
    }
    centers = SkyCoord(
        [np.mean(_unit(e.region), axis=0) for e in events], representation_type="cartesian"
    )
    far = centers.separation(SkyCoord(53.2, -28.1, unit="deg")).deg
    # 3.5 degrees across, and one detector looks where the camera points.
    assert far.min() < 1e-5
    assert 1.7 < far.max() < 1.9
    assert int(np.argmin(far)) == 94


def _unit_vector(ra, dec):
    return SkyCoord(ra, dec, unit="deg").cartesian.xyz.value


def _unit(region):
    return SkyCoord(np.array(region.vertices), unit="deg").cartesian.xyz.value.T


@pytest.mark.parametrize("as_text", [False, True], ids=["numbers", "text"])
def test_the_fanned_out_message_announces_its_detector(as_text):
    body = {k: str(v) for k, v in FANNED_OUT.items()} if as_text else FANNED_OUT
    visit = read_summit_visit(json.loads(json.dumps(body)), "t/0/1")
    [event] = announcements(visit, REGISTRY, (), "t/0/1")
    assert event.detectors == (94,)
    assert event.region == announced()[94].region


@pytest.mark.parametrize("angle", [0.0, 31.5, 90.0, -120.0, 180.0])
@pytest.mark.parametrize("pointing", [(53.2, -28.1), (0.05, 70.0), (300.0, -89.0)])
@pytest.mark.parametrize("detector", [0, 94, 100, 188])
def test_footprints_are_those_of_an_independent_wcs(angle, pointing, detector):
    camera = REGISTRY.get("LSSTCam")
    found = detector_footprint(camera, detector, pointing, angle)
    # Focal +Y lies at the angle from north through east; at 0, +X points west.
    turn = math.radians(angle)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---ARC", "DEC--ARC"]
    wcs.wcs.crval, wcs.wcs.crpix = pointing, [0.0, 0.0]
    # ARC: distances on the plane are angles from its centre, as in a focal plane without
    # distortion. One pixel is one mm; the intermediate axes are east and north.
    wcs.wcs.cd = (20.0 / 3600.0) * np.array(
        [[-math.cos(turn), math.sin(turn)], [math.sin(turn), math.cos(turn)]]
    )
    x, y = camera.detector_centers[detector]
    high, wide = (0.5 * 0.01 * n for n in camera.detector_shape)
    corners = [
        (x - wide, y - high),
        (x + wide, y - high),
        (x + wide, y + high),
        (x - wide, y + high),
    ]
    expected = SkyCoord(wcs.all_pix2world(np.array(corners), 1), unit="deg")
    there = SkyCoord(np.array(found.vertices), unit="deg")
    assert expected.separation(there).arcsec.max() < 1e-3


@pytest.mark.parametrize(
    ("instrument", "filters", "band"),
    [
        ("LSSTCam", "r_57", "r"),
        ("LSSTCam", "y_10", "y"),
        ("LSSTCam", "r", "r"),
        ("LSSTComCam", "i_06", "i"),
        ("LSSTComCam", "SDSSr_65mm~empty", "r"),
        ("LSSTCam", "empty~z_20", "z"),
    ],
)
def test_physical_filters_become_bands(instrument, filters, band):
    assert announced(instrument=instrument, filters=filters)[0].band == band


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"instrument": ""}, "no_instrument"),
        ({"coordinateSystem": 1, "position": [0.0, 0.0]}, "no_position"),
        ({"rotationSystem": 1}, "no_rotation"),
        ({"filters": ""}, "no_band"),
        ({"filters": "empty~empty"}, "no_band"),
    ],
)
def test_what_announces_nothing_is_named(changes, why):
    assert announced(**changes) == why


def test_surveys_can_be_chosen():
    assert announced(surveys=("BLOCK-1",)) == "other_survey"
    assert len(announced(surveys=("BLOCK-1", "BLOCK-365"))) == 189


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"coordinateSystem": 3}, "altitude and azimuth"),
        ({"coordinateSystem": 4}, "of the mount"),
        ({"coordinateSystem": 2, "position": [1.0]}, "ICRS"),
        ({"rotationSystem": 3}, "against the horizon"),
        ({"position": [10.0, 95.0]}, "no position"),
        ({"position": "nowhere"}, "no nextVisit: position"),
        ({"groupId": "g" * 65}, "no nextVisit: groupId"),
        ({"cameraAngle": float("nan")}, "no nextVisit: cameraAngle"),
    ],
)
def test_what_cannot_be_placed_is_refused(changes, said):
    with pytest.raises(MalformedEventError, match=said):
        announced(**changes)


@pytest.mark.parametrize("body", [None, [], {}, {"instrument": "LSSTCam"}, "text"])
def test_what_is_no_next_visit_is_refused(body):
    with pytest.raises(MalformedEventError, match=r"t/0/1 is no nextVisit"):
        read_summit_visit(body, "t/0/1")


@pytest.mark.parametrize(("instrument", "detector"), [("LATISS", None), ("LSSTCam", 200)])
def test_a_detector_without_geometry_is_refused(instrument, detector):
    with pytest.raises(UnknownInstrumentError, match="detector_centers"):
        announced(instrument=instrument, filters="r", detector=detector)


def test_its_age_is_told_by_the_efd_s_stamp_or_the_sender_s():
    assert sent_at(read_summit_visit(SUMMIT, "p")) == 1_763_600_000.5
    assert sent_at(read_summit_visit(FANNED_OUT, "p")) == 1_763_600_000.0
    assert sent_at(read_summit_visit(FANNED_OUT | {"private_sndStamp": 0}, "p")) is None


def test_what_the_summit_says_of_the_exposure_goes_into_the_ledger():
    first, *_ = announced()
    assert first.physical_filter == "r_57"
    assert first.begin_tai == datetime(1970, 1, 1) + timedelta(seconds=1_763_600_067)  # noqa: DTZ001 TAI
    # How long it lasts is not said: `duration` counts what is around it as well.
    assert first.exposure_time is None
    for unknown in (0.0, -1.0, 1e300):
        assert announced(startTime=unknown)[0].begin_tai is None
    assert announced(filters="r")[0].physical_filter is None
