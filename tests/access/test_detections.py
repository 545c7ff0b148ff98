"""Detections as a table: written beside the image, loaded, found, and as private as the image."""

import io

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
import pyvo
from sqlalchemy import func, select, update
from tests.support.detections import found_on, with_detections

from residua.access.settings import AccessSettings
from residua.catalog.rows import Site
from residua.catalog.writing.detection_rows import detection_reader
from residua.catalog.writing.transaction import open_database, write_batch
from residua.identity import dia_source_id
from residua.messaging.records.events import IncomingRecord
from residua.obscore import dia_source, obscore, visit_detector
from residua.obscore.schema import TABLES_FILE, table_columns
from residua.subtraction.detections import PIXEL_FLAGS, detection_columns
from residua.testing.difference_images import difference_image_event
from residua_schemas import DifferenceImageFailed, DifferenceImageSkipped
from residua_schemas.examples import examples

TOPIC = "difference-images"
VISITS = (2026112200101, 2026112200102)


def record(event, offset=0):
    value = event.model_dump_json().encode()
    return IncomingRecord(TOPIC, 0, offset, event.key, value, 1_795_500_000_000)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/catalog.sqlite"
    name = f"residua_detections_{abs(hash(request.node.name)) % 10**8}"
    return request.getfixturevalue("postgres").create_database(name, ["pg_sphere"])


@pytest.fixture
def events(tmp_path):
    made = [difference_image_event(visit, 4, "s3://x/y.fits") for visit in VISITS]
    return [
        with_detections(event, found_on(event, n), tmp_path)
        for event, n in zip(made, (7, 5), strict=True)
    ]


def load(url, events, folder):
    engine = open_database(url)
    read = detection_reader([str(folder)])
    result = write_batch(engine, [record(e, i) for i, e in enumerate(events)], TOPIC, Site(), read)
    assert result.refused == ()
    return engine


def count(engine, table):
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(table))


def query(base, adql, **more):
    data = {"LANG": "ADQL", "QUERY": adql, "FORMAT": "csv", **more}
    answer = httpx.post(f"{base}/tap/sync", data=data)
    assert answer.status_code == 200, answer.text
    return [line.split(",") for line in answer.text.split()]


def test_the_columns_are_those_that_are_measured():
    names = [column.name for column in table_columns(TABLES_FILE, "dia_source")]
    measured = [column.rubin for column in detection_columns()]
    flags = ["pixelFlags"]
    flags += [f"pixelFlags_{name}{end}" for name in PIXEL_FLAGS for end in ("", "Center")]
    own = ["diaSourceId", "visitDetectorId", "visit", "detector", "band", "midpointMjdTai"]
    assert names == [*own, *measured, *flags]


def test_numbers_of_detections_tell_datasets_and_places_apart(events):
    first, second = (event.dataset_id for event in events)
    numbers = {dia_source_id(d, i) for d in (first, second) for i in (0, 1, 262_143)}
    assert len(numbers) == 6
    assert all(0 <= number < 1 << 63 for number in numbers)
    with pytest.raises(ValueError, match="262144"):
        dia_source_id(first, 262_144)


def test_loading_is_idempotent_and_the_newest_revision_counts(url, events, tmp_path):
    engine = load(url, events, tmp_path)
    load(url, [*events, *events], tmp_path)
    assert (count(engine, visit_detector), count(engine, dia_source)) == (2, 12)
    newer = events[0].model_copy(update={"revision": 3})
    newer = with_detections(newer, found_on(newer, 2, seed=1), tmp_path)
    load(url, [newer], tmp_path)
    # What was before arrives again, and changes nothing.
    load(url, [events[0]], tmp_path)
    assert count(engine, dia_source) == 7
    with engine.connect() as connection:
        rows = connection.execute(select(visit_detector).order_by(visit_detector.c.visit)).all()
        assert [(row.revision, row.sources) for row in rows] == [(3, 2), (0, 5)]
        assert rows[0].latency > 0
    # A later failure displaces no image, nor what was found on it.
    failed = examples()[DifferenceImageFailed].model_copy(
        update={"dataset_id": newer.dataset_id, "visit_detector": newer.visit_detector,
                "revision": 4}
    )  # fmt: skip
    skipped = examples()[DifferenceImageSkipped]
    load(url, [failed, skipped], tmp_path)
    assert count(engine, dia_source) == 7
    with engine.connect() as connection:
        outcomes = connection.scalars(select(visit_detector.c.outcome)).all()
    assert sorted(outcomes) == ["created", "created", "skipped"]
    engine.dispose()


def test_a_table_that_is_gone_leaves_the_image_and_says_so(url, events, tmp_path):
    missing = events[0].detections.model_copy(update={"uri": (tmp_path / "no.parquet").as_uri()})
    engine = load(url, [events[0].model_copy(update={"detections": missing})], tmp_path)
    assert count(engine, dia_source) == 0
    # Where it comes back, or the roots are mended, the same record loads it.
    load(url, [events[0]], tmp_path)
    assert count(engine, dia_source) == 7
    engine.dispose()


def test_the_tutorials_query_and_cones_work(url, events, tmp_path, run_service):
    engine = load(url, events, tmp_path)
    engine.dispose()
    settings = AccessSettings(
        catalog_url=url, image_roots=(str(tmp_path),), dia_source_table="dp1.DiaSource"
    )
    with run_service(settings) as base:
        tap = pyvo.dal.TAPService(f"{base}/tap")
        table = tap.search(
            f"SELECT diaSourceId, x, y FROM dp1.DiaSource WHERE visit = {VISITS[0]} "
            "AND detector = 4"
        ).to_table()
        assert table.colnames == ["diaSourceId", "x", "y"]
        expected = {d.x for d in found_on(events[0], 7)}
        assert set(table["x"]) == expected
        assert set(table["diaSourceId"]) == {
            dia_source_id(events[0].dataset_id, i) for i in range(7)
        }
        whole = tap.search("SELECT TOP 1 * FROM residua.dia_source").to_table()
        assert whole.colnames == [c.name for c in table_columns(TABLES_FILE, "dia_source")]
        assert str(whole["psfFlux"].unit) == "nJy"
        assert whole["xErr"].mask.all()
        saturated = query(
            base, "SELECT COUNT(*) AS n FROM residua.dia_source WHERE pixelFlags_saturated = 1"
        )
        assert saturated == [["n"], ["5"]]
        ra, dec = events[0].region.center
        for radius in (0.0003, 0.0007, 1.0):
            inside = sum(
                np.hypot((d.ra - ra) * np.cos(np.radians(dec)), d.dec - dec) < radius
                for event, n in zip(events, (7, 5), strict=True)
                for d in found_on(event, n)
            )
            cone = f"CIRCLE('ICRS', {ra}, {dec}, {radius})"
            rows = query(
                base,
                "SELECT COUNT(*) AS n FROM residua.dia_source "
                f"WHERE 1 = CONTAINS(POINT('ICRS', ra, dec), {cone})",
            )
            assert rows == [["n"], [str(inside)]]
        joined = query(
            base,
            "SELECT v.visit, COUNT(*) AS n FROM residua.visit_detector AS v JOIN "
            "residua.dia_source AS s ON s.visitDetectorId = v.visitDetectorId "
            "WHERE v.outcome = 'created' AND v.limiting_flux IS NULL GROUP BY v.visit "
            "ORDER BY v.visit",
        )
        assert joined == [["visit", "n"], [str(VISITS[0]), "7"], [str(VISITS[1]), "5"]]
        described = query(
            base, "SELECT COUNT(*) AS n FROM tap_schema.columns WHERE table_name LIKE 'residua.%'"
        )
        wanted = sum(len(table_columns(TABLES_FILE, t)) for t in ("dia_source", "visit_detector"))
        assert described == [["n"], [str(wanted)]]
        did = events[0].obs_publisher_did
        links = pyvo.dal.adhoc.DatalinkResults.from_result_url(f"{base}/datalink/links?ID={did}")
        [link] = [link for link in links if link["semantics"] == "#detections"]
        content = httpx.get(link["access_url"]).content
        assert len(content) == link["content_length"]
        assert pq.read_table(io.BytesIO(content)).num_rows == 7


def test_detections_are_as_private_as_their_image(url, events, tmp_path, run_service):
    engine = load(url, events, tmp_path)
    with engine.begin() as connection:
        where = (obscore.c.lsst_visit == VISITS[0]) & (obscore.c.dataset_type == "difference_image")
        connection.execute(update(obscore).where(where).values(data_rights="proprietary"))
    engine.dispose()
    for listed, images in ((True, "2"), (False, "1")):
        settings = AccessSettings(
            catalog_url=url, image_roots=(str(tmp_path),), list_unreleased=listed
        )
        with run_service(settings) as base:
            rows = query(base, "SELECT DISTINCT visit FROM residua.dia_source")
            assert rows == [["visit"], [str(VISITS[1])]]
            rows = query(base, "SELECT COUNT(*) AS n FROM residua.visit_detector")
            assert rows == [["n"], [images]]
            ra, dec = events[0].region.center
            cone = f"1 = CONTAINS(POINT(ra, dec), CIRCLE({ra}, {dec}, 1))"
            rows = query(base, f"SELECT COUNT(*) AS n FROM residua.dia_source WHERE {cone}")
            assert rows == [["n"], ["5"]]
            answer = httpx.get(f"{base}/detections/{events[0].dataset_id}.parquet")
            assert answer.status_code == (403 if listed else 404)
            assert httpx.get(f"{base}/detections/{events[1].dataset_id}").status_code == 200
