"""One batch, one transaction: good records become rows, bad ones are told, an outage is raised."""

import json

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import OperationalError
from tests.support.servers.postgres import postgres_missing, running_postgres

from residua.catalog.rows import Site
from residua.catalog.writing.transaction import open_database, write_batch
from residua.errors import MalformedEventError, UnsupportedVersionError
from residua.messaging.records.events import IncomingRecord
from residua.obscore import create_tables, obscore
from residua_schemas import (
    DifferenceImageCreated,
    DifferenceImageFailed,
    DifferenceImageSkipped,
    TemplateCoadd,
)
from residua_schemas.examples import examples

OUTCOMES, TEMPLATES = "difference-images", "template-coadds"


@pytest.fixture(scope="module")
def postgres():
    reason = postgres_missing("pg_sphere")
    if reason:
        pytest.skip(reason)
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/catalog.db"
    else:
        url = request.getfixturevalue("postgres").create_database("catalog", ["pg_sphere"])
    engine = open_database(url)
    yield engine
    engine.dispose()


def record(value, topic=OUTCOMES, key=b"k", offset=0):
    return IncomingRecord(topic, 0, offset, key, value, 0)


def event(model, **changes):
    """Events of contracts 1.0, which do not describe visit images; see test_visit_images.py."""
    if "visit_image_metadata" in model.model_fields:
        changes = {"visit_image_metadata": None, **changes}
    return examples()[model].model_copy(update=changes).model_dump_json().encode()


def rows(engine):
    with engine.connect() as connection:
        return [dict(r) for r in connection.execute(select(obscore)).mappings()]


def test_created_outcomes_become_rows_and_the_others_do_not(engine):
    batch = [
        record(event(m))
        for m in (DifferenceImageCreated, DifferenceImageSkipped, DifferenceImageFailed)
    ]
    result = write_batch(engine, batch, OUTCOMES, Site())
    assert (result.changed, result.refused) == (1, ())
    assert len(rows(engine)) == 1
    assert write_batch(engine, batch, OUTCOMES, Site()).changed == 0


def test_a_bad_record_is_refused_and_the_batch_goes_on(engine):
    bad = [b"{", None, b"[]", b'{"schema_version": "9.1", "outcome": "created"}']
    batch = [record(v, offset=n) for n, v in enumerate(bad)]
    batch.insert(2, record(event(DifferenceImageCreated), offset=9))
    result = write_batch(engine, batch, OUTCOMES, Site())
    assert result.changed == 1
    assert [r.value for r, _ in result.refused] == bad
    kinds = [type(e) for _, e in result.refused]
    assert kinds == [MalformedEventError] * 3 + [UnsupportedVersionError]


def test_a_value_the_database_cannot_hold_is_refused_alone(engine):
    good = record(event(DifferenceImageCreated))
    huge = json.loads(event(TemplateCoadd))
    huge["tract"] = 10**30
    bad = record(json.dumps(huge).encode(), TEMPLATES)
    result = write_batch(engine, [bad, good], OUTCOMES, Site())
    assert result.changed == 1
    assert [r for r, _ in result.refused] == [bad]
    assert len(rows(engine)) == 1


def test_a_text_the_database_cannot_hold_is_refused_or_kept(engine):
    # PostgreSQL has no NUL in text; SQLite has.
    odd = json.loads(event(DifferenceImageCreated))
    odd["target_name"] = "M\x0042"
    result = write_batch(engine, [record(json.dumps(odd).encode())], OUTCOMES, Site())
    assert result.changed + len(result.refused) == 1


def test_templates_come_and_go_in_order(engine):
    key = examples()[TemplateCoadd].key
    put = record(event(TemplateCoadd), TEMPLATES, key)
    take = record(None, TEMPLATES, key)
    write_batch(engine, [put, take], OUTCOMES, Site())
    assert rows(engine) == []
    write_batch(engine, [put, take, put], OUTCOMES, Site())
    assert [r["dataset_type"] for r in rows(engine)] == ["template_coadd"]
    write_batch(engine, [take], OUTCOMES, Site())
    assert rows(engine) == []


def test_an_outage_is_raised_and_nothing_is_refused(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path}/catalog.db")
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE obscore"))
    with pytest.raises(OperationalError):
        write_batch(engine, [record(event(DifferenceImageCreated))], OUTCOMES, Site())
    engine.dispose()


def test_a_catalog_read_again_from_the_topic_equals_the_old_one(engine, tmp_path):
    batch = [
        record(event(DifferenceImageCreated, revision=r, uri=f"s3://b/{r}"), offset=n)
        for n, r in enumerate([0, 2, 1, 2])
    ] + [record(event(TemplateCoadd), TEMPLATES)]
    for one in batch:
        write_batch(engine, [one], OUTCOMES, Site())
    again = create_engine(f"sqlite:///{tmp_path}/again.db")
    create_tables(again)
    write_batch(again, batch, OUTCOMES, Site())

    def comparable(e):
        found = [{k: v for k, v in r.items() if k != "row_id"} for r in rows(e)]
        for row in found:
            row.pop("s_region_spoly", None)
        return sorted(found, key=lambda r: r["dataset_id"])

    assert comparable(engine) == comparable(again)
    assert "s3://b/2" in {r["uri"] for r in rows(again)}
    again.dispose()
