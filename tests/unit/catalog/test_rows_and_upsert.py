"""ObsCore rows of events, and writing them twice, out of order, and by thousands."""

import json
import random
from uuid import uuid5

import pytest
from sqlalchemy import create_engine, func, select

from residua.catalog.rows import (
    Site,
    difference_image_row,
    template_coadd_row,
    visit_image_row,
)
from residua.catalog.writing.upsert import upsert_rows, withdraw_templates
from residua.identity import NAMESPACE
from residua.obscore import COMPUTED_COLUMNS, OBSCORE_COLUMNS, create_tables, obscore
from residua_schemas import DifferenceImageCreated, TemplateCoadd
from residua_schemas.examples import examples

SITE = Site(obs_collection="Example")


@pytest.fixture
def engine(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/catalog.db")
    create_tables(engine)
    create_tables(engine)
    yield engine
    engine.dispose()


def created(**changes) -> DifferenceImageCreated:
    event = examples()[DifferenceImageCreated]
    assert isinstance(event, DifferenceImageCreated)
    return event.model_copy(update=changes)


def template(**changes) -> TemplateCoadd:
    event = examples()[TemplateCoadd]
    assert isinstance(event, TemplateCoadd)
    return event.model_copy(update=changes)


def all_rows(engine):
    with engine.connect() as connection:
        query = select(obscore).order_by(obscore.c.dataset_id)
        return [dict(row) for row in connection.execute(query).mappings()]


def test_the_table_has_the_columns_of_rubin_and_the_four_of_the_standard():
    assert len(OBSCORE_COLUMNS) == 40
    assert {"access_estsize", "pol_states", "lsst_filter", "dataproduct_subtype"} < set(
        OBSCORE_COLUMNS
    )
    stored = [name for name in OBSCORE_COLUMNS if name not in COMPUTED_COLUMNS]
    assert [c.name for c in obscore.columns][:39] == stored


def test_difference_image_row_has_every_column_and_says_what_the_product_is():
    event = created()
    row = difference_image_row(event, SITE)
    assert set(row) == {c.name for c in obscore.columns} - {"row_id"}
    assert row["dataproduct_type"] == "image"
    assert row["dataproduct_subtype"] == "lsst.difference_image"
    assert row["calib_level"] == 3
    assert row["o_ucd"] == "phot.flux.density"
    assert row["access_format"] == "application/x-votable+xml;content=datalink"
    assert row["s_xel1"] == event.shape[1]
    assert row["s_xel2"] == event.shape[0]
    assert row["s_resolution"] == event.psf_fwhm
    assert row["lsst_visit"] == event.visit_detector.visit
    assert row["lsst_detector"] == event.visit_detector.detector


def test_times_become_utc_modified_julian_dates():
    # 2017-01-01T00:00:37 TAI is midnight UTC, MJD 57754 (37 leap seconds since that night).
    event = created(begin_tai="2017-01-01T00:00:37", end_tai="2017-01-01T00:01:07")
    event = DifferenceImageCreated.model_validate_json(event.model_dump_json(warnings=False))
    row = difference_image_row(event, SITE)
    assert row["t_min"] == pytest.approx(57754.0, abs=1e-9)
    assert row["t_max"] == pytest.approx(57754.0 + 30 / 86400, abs=1e-9)
    assert "2017-01-01T00:00:00.000Z" in row["obs_title"]


def test_an_embargo_and_rights_stand_in_the_row():
    event = created(end_tai="2016-12-31T00:00:36")
    event = DifferenceImageCreated.model_validate_json(event.model_dump_json(warnings=False))
    assert difference_image_row(event, SITE)["obs_release_date"] is None
    site = Site(embargo_hours=80.0, data_rights="proprietary")
    row = difference_image_row(event, site)
    # 36 leap seconds at the end of the exposure, one more three days later.
    assert row["obs_release_date"] == "2017-01-03T07:59:59.000Z"
    assert row["data_rights"] == "proprietary"
    visit = visit_image_row(event, site)
    assert visit["obs_release_date"] is not None
    assert visit["data_rights"] == "proprietary"
    assert template_coadd_row(template(), site)["obs_release_date"] is None


def test_size_is_in_kilobytes_rounded_up():
    assert difference_image_row(created(size_bytes=28_500_001), SITE)["access_estsize"] == 28_501


def test_an_uncalibrated_image_is_not_called_a_flux_density():
    assert difference_image_row(created(unit="adu"), SITE)["o_ucd"] == "phot.count"


def test_bounding_circle_holds_all_corners_across_ra_zero():
    event = created()
    region = event.region.model_copy(
        update={"vertices": ((359.9, -0.1), (0.1, -0.1), (0.1, 0.1), (359.9, 0.1))}
    )
    row = difference_image_row(created(region=region), SITE)
    assert min(row["s_ra"], 360 - row["s_ra"]) < 1e-9
    assert row["s_fov"] == pytest.approx(2 * 0.1 * 2**0.5, rel=1e-4)


def test_template_row_is_a_coadd_with_its_patch():
    event = template()
    row = template_coadd_row(event, SITE)
    assert set(row) == {c.name for c in obscore.columns} - {"row_id"}
    assert row["dataproduct_subtype"] == "lsst.template_coadd"
    assert (row["lsst_tract"], row["lsst_patch"]) == (event.tract, event.patch)
    assert "/template-coadds?id=" in row["obs_publisher_did"]
    assert row["t_min"] is None


def test_template_rows_have_what_the_event_tells_else_what_the_band_means():
    row = template_coadd_row(template(band="g"), SITE)
    assert (row["em_min"], row["em_max"]) == (402.6e-9, 548.3e-9)
    assert row["em_res_power"] == pytest.approx(3.26, abs=0.01)
    told = template(em_min=5e-7, em_max=6e-7, instrument="LSSTCam", facility_name="Rubin:Simonyi")
    row = template_coadd_row(told, SITE)
    assert (row["em_min"], row["em_max"]) == (5e-7, 6e-7)
    assert (row["instrument_name"], row["facility_name"]) == ("LSSTCam", "Rubin:Simonyi")
    assert template_coadd_row(template(band="Ks"), SITE)["em_min"] is None


def test_texts_from_outside_fit_their_columns():
    row = difference_image_row(created(target_name="x\ufffey\n" + "n" * 300), SITE)
    assert row["target_name"] == "x\N{REPLACEMENT CHARACTER}y\N{REPLACEMENT CHARACTER}" + "n" * 28


def test_a_repeat_changes_nothing(engine):
    row = difference_image_row(created(), SITE)
    with engine.begin() as connection:
        assert upsert_rows(connection, [row]) == 1
    before = all_rows(engine)
    with engine.begin() as connection:
        assert upsert_rows(connection, [row, row]) == 0
    assert all_rows(engine) == before


def test_newest_revision_wins_in_any_order(engine):
    rows = [difference_image_row(created(revision=r, uri=f"s3://b/{r}"), SITE) for r in range(6)]
    shuffled = rows * 3
    random.Random(5).shuffle(shuffled)
    for row in shuffled:
        with engine.begin() as connection:
            upsert_rows(connection, [row])
    assert [r["uri"] for r in all_rows(engine)] == ["s3://b/5"]
    with engine.begin() as connection:
        assert upsert_rows(connection, rows[:5]) == 0


def test_of_equal_revisions_the_last_content_stands(engine):
    first = difference_image_row(created(checksum="sha256:" + "1" * 64), SITE)
    last = difference_image_row(created(checksum="sha256:" + "2" * 64), SITE)
    with engine.begin() as connection:
        assert upsert_rows(connection, [first]) == 1
        assert upsert_rows(connection, [first, last]) == 1
    assert all_rows(engine)[0]["checksum"] == "sha256:" + "2" * 64


def test_a_batch_larger_than_a_statement_is_written_whole(engine):
    rows = [
        difference_image_row(created(dataset_id=uuid5(NAMESPACE, str(i))), SITE)
        for i in range(1500)
    ]
    with engine.begin() as connection:
        assert upsert_rows(connection, rows) == 1500
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(obscore)) == 1500


def test_a_failed_transaction_leaves_no_row(engine):
    row = difference_image_row(created(), SITE)

    def write_and_fail():
        with engine.begin() as connection:
            upsert_rows(connection, [row])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert all_rows(engine) == []


def test_a_tombstone_withdraws_the_template_and_nothing_else(engine):
    with engine.begin() as connection:
        upsert_rows(
            connection,
            [template_coadd_row(template(), SITE), difference_image_row(created(), SITE)],
        )
        assert withdraw_templates(connection, [template().key.decode()]) == 1
        assert withdraw_templates(connection, []) == 0
    assert [r["dataset_type"] for r in all_rows(engine)] == ["difference_image"]


def test_the_row_keeps_what_makes_the_image_again(engine):
    event = created()
    with engine.begin() as connection:
        upsert_rows(connection, [difference_image_row(event, SITE)])
    kept = all_rows(engine)[0]
    assert DifferenceImageCreated.model_validate_json(json.dumps(kept["event"])) == event
    assert [p["dataset_type"] for p in kept["progenitors"]] == ["visit_image"] + [
        "template_coadd"
    ] * len(event.templates)
