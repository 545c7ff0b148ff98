"""Dimension rows from events: which, in which order, and the same for the same events."""

import pytest
from astropy.time import Time
from lsst.sphgeom import LonLat, UnitVector3d

from residua.butler.registering.dimensions import (
    INSERTION_ORDER,
    convex_polygon,
    difference_image_rows,
    instrument_rows,
    merge_rows,
    template_rows,
)
from residua.instruments import InstrumentRegistry
from residua_schemas import DifferenceImageCreated, SkyPolygon, TemplateCoadd, VisitDetector
from residua_schemas.examples import examples

CREATED = examples()[DifferenceImageCreated]
TEMPLATE = examples()[TemplateCoadd]
INSTRUMENTS = InstrumentRegistry()


def created(**changes) -> DifferenceImageCreated:
    return CREATED.model_copy(update=changes)


def test_a_difference_image_brings_every_row_its_data_id_needs():
    rows = difference_image_rows(CREATED, INSTRUMENTS)
    assert set(rows) == set(INSERTION_ORDER[1:3]) | set(INSERTION_ORDER[4:11])
    assert rows["visit"][0]["id"] == rows["exposure"][0]["id"] == 2024110800253
    assert rows["visit"][0]["seq_num"] == 253
    assert rows["detector"][0]["full_name"] == "R22_S11"
    assert (rows["detector"][0]["raft"], rows["detector"][0]["name_in_raft"]) == ("R22", "S11")


def test_times_are_tai():
    timespan = difference_image_rows(CREATED, INSTRUMENTS)["visit"][0]["timespan"]
    assert timespan.begin.scale == "tai"
    assert abs(timespan.begin - Time("2024-11-09T05:21:34.5", scale="tai")).sec < 1e-6
    assert abs(timespan.end - Time("2024-11-09T05:22:04.5", scale="tai")).sec < 1e-6


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({"end_tai": None}, 30.0),
        ({"end_tai": None, "exposure_time": None}, 1e-9),
        ({"end_tai": CREATED.begin_tai}, 1e-9),
    ],
)
def test_timespan_of_incomplete_times(changes, seconds):
    timespan = difference_image_rows(created(**changes), INSTRUMENTS)["visit"][0]["timespan"]
    assert (timespan.end - timespan.begin).sec == pytest.approx(seconds, abs=1e-9)


def test_without_a_begin_there_is_no_timespan():
    rows = difference_image_rows(created(begin_tai=None), INSTRUMENTS)
    assert rows["visit"][0]["timespan"] is None
    assert rows["exposure"][0]["timespan"] is None


def test_day_obs_holds_the_visit():
    rows = difference_image_rows(CREATED, INSTRUMENTS)
    assert rows["day_obs"][0]["timespan"].contains(rows["visit"][0]["timespan"])


def test_zenith_angle_of_airmass_two_is_sixty_degrees():
    rows = difference_image_rows(created(airmass=2.0), INSTRUMENTS)
    assert rows["visit"][0]["zenith_angle"] == pytest.approx(60.0)


def test_an_unknown_instrument_is_described_by_the_event():
    vd = VisitDetector(instrument="MyCamera", visit=7, detector=2)
    rows = difference_image_rows(created(visit_detector=vd), INSTRUMENTS)
    assert rows["detector"] == [
        {"instrument": "MyCamera", "id": 2, "full_name": "2", "purpose": "SCIENCE"}
    ]
    assert rows["visit"][0]["seq_num"] is None
    assert instrument_rows(INSTRUMENTS.get("MyCamera"))["instrument"][0]["detector_max"] is None


def test_shipped_instruments_have_distinct_detector_names():
    for instrument in INSTRUMENTS:
        names = [row["full_name"] for row in instrument_rows(instrument)["detector"]]
        assert len(names) == len(set(names))


def test_merged_rows_do_not_depend_on_the_order_of_the_events():
    one = difference_image_rows(CREATED, INSTRUMENTS)
    other = difference_image_rows(
        created(visit_detector=VisitDetector(instrument="LSSTComCam", visit=2, detector=1)),
        INSTRUMENTS,
    )
    assert merge_rows([one, other]) == merge_rows([other, one])
    assert len(merge_rows([one, one, other])["visit"]) == 2
    order = list(merge_rows([one, other]))
    assert order == sorted(order, key=INSERTION_ORDER.index)


def test_a_patch_finds_its_cell_in_a_known_grid():
    [patch] = template_rows(TEMPLATE, lambda skymap: 10)["patch"]
    assert (patch["cell_x"], patch["cell_y"]) == (4, 3)
    [patch] = template_rows(TEMPLATE, lambda skymap: None)["patch"]
    assert (patch["cell_x"], patch["cell_y"]) == (34, 0)


@pytest.mark.parametrize("turn", [1, -1])
def test_polygon_contains_its_centre_whichever_way_round(turn):
    region = SkyPolygon(vertices=((359.9, -0.1), (0.1, -0.1), (0.1, 0.1), (359.9, 0.1))[::turn])
    polygon = convex_polygon(region)
    assert polygon.contains(UnitVector3d(LonLat.fromDegrees(0.0, 0.0)))
    assert not polygon.contains(UnitVector3d(LonLat.fromDegrees(180.0, 0.0)))


def test_a_line_is_no_region():
    line = SkyPolygon(vertices=((0.0, 0.0), (1.0, 0.0), (2.0, 0.0)))
    with pytest.raises(ValueError, match="not a convex polygon"):
        convex_polygon(line)
