"""Visit images have rows of their own, from whatever outcome describes them."""

import pytest
from sqlalchemy import create_engine, select
from tests.support.servers.postgres import postgres_missing, running_postgres

from residua.catalog.rows import Site, difference_image_row, visit_image_row
from residua.catalog.writing.transaction import open_database, write_batch
from residua.identity import dataset_id, visit_image_dataset_id
from residua.messaging.records.events import IncomingRecord
from residua.obscore import create_tables, obscore, visit_detector
from residua_schemas import DifferenceImageCreated, DifferenceImageFailed, DifferenceImageSkipped
from residua_schemas.examples import examples

TOPIC = "difference-images"
OUTCOMES = (DifferenceImageCreated, DifferenceImageSkipped, DifferenceImageFailed)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path):
    if request.param == "sqlite":
        engine = open_database(f"sqlite:///{tmp_path}/catalog.db")
        yield engine
        engine.dispose()
        return
    reason = postgres_missing("pg_sphere")
    if reason:
        pytest.skip(reason)
    with running_postgres() as server:
        engine = open_database(server.create_database("catalog", ["pg_sphere"]))
        yield engine
        engine.dispose()


def outcome(model, **changes):
    return examples()[model].model_copy(update=changes)


def record(event, offset=0):
    return IncomingRecord(TOPIC, 0, offset, event.key, event.model_dump_json().encode(), 0)


def rows(engine, dataset_type="visit_image"):
    query = select(obscore).where(obscore.c.dataset_type == dataset_type)
    with engine.connect() as connection:
        return [dict(r) for r in connection.execute(query).mappings()]


@pytest.mark.parametrize("model", OUTCOMES)
def test_every_outcome_that_read_the_image_gives_its_row(engine, model):
    event = outcome(model)
    image = event.visit_image_metadata
    write_batch(engine, [record(event)], TOPIC, Site())
    [row] = rows(engine)
    assert (row["calib_level"], row["dataproduct_subtype"]) == (2, "lsst.visit_image")
    assert row["dataset_id"] == str(visit_image_dataset_id(event.visit_detector))
    assert row["obs_publisher_did"].startswith("ivo://org.residua/visit-images?id=")
    assert (row["uri"], row["checksum"]) == (image.uri, image.checksum)
    assert row["access_estsize"] == -(-image.size_bytes // 1000)
    assert row["s_resolution"] == image.psf_fwhm
    assert (row["lsst_visit"], row["lsst_detector"]) == (
        event.visit_detector.visit,
        event.visit_detector.detector,
    )
    assert row["progenitors"] == []
    assert len(rows(engine, "difference_image")) == (model is DifferenceImageCreated)


def test_place_time_and_band_are_those_of_the_difference_image():
    event = outcome(DifferenceImageCreated)
    visit, difference = visit_image_row(event, Site()), difference_image_row(event, Site())
    differing = {name for name in visit if visit[name] != difference[name]}
    assert differing == {
        "dataproduct_subtype", "obs_title", "calib_level", "obs_publisher_did",
        "access_estsize", "s_resolution", "dataset_id", "dataset_type", "run", "row_hash", "uri",
        "size_bytes", "progenitors", "event", "revision",
    }  # fmt: skip


def test_events_of_older_contracts_give_no_row():
    assert (
        visit_image_row(outcome(DifferenceImageSkipped, visit_image_metadata=None), Site()) is None
    )


def test_runs_share_the_row_and_the_newest_revision_stands(engine):
    first = outcome(DifferenceImageCreated)
    other_run = {"run": "residua/0/dp2/aaaaaaaaaaaa"}
    second = first.model_copy(
        update={**other_run, "dataset_id": dataset_id(other_run["run"], first.visit_detector)}
    )
    write_batch(engine, [record(first), record(second, 1)], TOPIC, Site())
    assert len(rows(engine)) == 1
    assert len(rows(engine, "difference_image")) == 2
    moved = first.visit_image_metadata.model_copy(update={"uri": "s3://visits/again.fits"})
    # Whatever its number in its run: that of the newest arrival stands.
    arrival = first.arrival.model_copy(update={"revision": 3})
    newer = outcome(DifferenceImageFailed, arrival=arrival, visit_image_metadata=moved)
    write_batch(engine, [record(newer, 2), record(first, 3)], TOPIC, Site())
    [row] = rows(engine)
    assert row["uri"] == "s3://visits/again.fits"


def test_a_rebuild_from_the_topic_gives_the_same_rows(engine, tmp_path):
    events = [outcome(model, revision=n) for n, model in enumerate(OUTCOMES)]
    events.append(outcome(DifferenceImageCreated, revision=1))
    batch = [record(event, n) for n, event in enumerate(events)]
    for one in batch:
        write_batch(engine, [one], TOPIC, Site())
    again = create_engine(f"sqlite:///{tmp_path}/again.db")
    create_tables(again)
    write_batch(again, batch, TOPIC, Site())

    def comparable(source):
        [row] = rows(source)
        return {k: v for k, v in row.items() if k not in {"row_id", "s_region_spoly"}}

    assert comparable(engine) == comparable(again)
    again.dispose()


def test_a_record_is_refused_whole(engine):
    broken = outcome(DifferenceImageCreated)
    huge = broken.model_copy(update={"size_bytes": 10**30})
    result = write_batch(engine, [record(huge)], TOPIC, Site())
    assert [r.value for r, _ in result.refused] == [record(huge).value]
    assert rows(engine) == []


def test_what_came_too_late_or_failed_displaces_no_image(engine):
    """A superseded arrival gets a higher number, and is no reason to forget what is in force."""
    image = outcome(DifferenceImageCreated, revision=0)
    late = outcome(DifferenceImageFailed, revision=1)
    for batch in ([image, late], [late, image], [image], [late]):
        write_batch(engine, [record(e, n) for n, e in enumerate(batch)], TOPIC, Site())
        with engine.connect() as connection:
            found = connection.execute(
                select(visit_detector.c.outcome, visit_detector.c.revision)
            ).all()
        assert found == [("created", 0)]
    # A failure of which there is no image is told, and gives way to one.
    newer = outcome(DifferenceImageCreated, revision=2)
    write_batch(engine, [record(newer, 9)], TOPIC, Site())
    with engine.connect() as connection:
        assert connection.scalar(select(visit_detector.c.revision)) == 2
