"""The announcement of a visit: where it says the detectors will look."""

import math

import numpy as np
import pytest
from astropy.wcs import WCS
from pydantic import ValidationError

from residua_schemas import NextVisit

PLACE = {"pointing": (53.1, -28.1), "field": (0.3, 0.15)}
TRIANGLE = {"vertices": ((10.0, 0.0), (11.0, 0.0), (10.5, 1.0))}


def announce(**fields):
    return NextVisit.model_validate({"instrument": "DECam", "band": "i", **fields})


def test_key_names_what_is_known():
    assert announce(**PLACE).key == b"DECam"
    assert announce(**PLACE, visit=7, detectors=[3]).key == b"DECam/7"


def test_a_region_is_believed_over_a_pointing():
    assert announce(region=TRIANGLE, **PLACE).footprint.vertices == TRIANGLE["vertices"]


@pytest.mark.parametrize("center", [(53.1, -28.1), (0.01, 10.0), (200.0, 89.95), (5.0, -90.0)])
@pytest.mark.parametrize("rotation", [0.0, 90.0, -31.0])
def test_a_rectangle_stands_where_a_tangent_projection_puts_it(center, rotation):
    visit = announce(pointing=center, field=(0.3, 0.15), rotation_angle=rotation)
    turn = math.radians(rotation)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = center, [0.0, 0.0]
    # Columns are the detector's axes: y turned from north to east, x 90 degrees clockwise of it.
    wcs.wcs.cd = [[-math.cos(turn), math.sin(turn)], [math.sin(turn), math.cos(turn)]]
    half = [math.degrees(math.tan(math.radians(side / 2.0))) for side in (0.3, 0.15)]
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half
    expected = unit(wcs.all_pix2world(corners, 1))
    found = unit(np.array(visit.footprint.vertices))
    assert np.abs(found - expected).max() < 1e-11


def unit(positions):
    ra, dec = np.radians(positions).T
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({}, "give region, or pointing and field"),
        ({"pointing": (1.0, 2.0)}, "give region"),
        ({"pointing": (1.0, 92.0), "field": (1.0, 1.0)}, "not a position"),
        ({"pointing": (1.0, 2.0), "field": (0.0, 1.0)}, "between 0 and 60"),
        ({"pointing": (1.0, math.nan), "field": (1.0, 1.0)}, "finite"),
        ({**PLACE, "detectors": [-1]}, "detectors"),
        ({**PLACE, "band": "no band"}, "band"),
        ({**PLACE, "instrument": "a/b"}, "instrument"),
    ],
)
def test_what_is_no_announcement(fields, complaint):
    with pytest.raises(ValidationError, match=complaint):
        announce(**fields)
