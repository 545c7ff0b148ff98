"""Burn and rebuild: the images and the database are deleted, and come back the same."""

import asyncio
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from lsst.daf.butler import Butler
from sqlalchemy import create_engine, select
from tests.support.demo_run import ARGUMENTS, run_demo
from tests.support.servers.postgres import postgres_missing, running_postgres
from typer.testing import CliRunner

from residua.cli.main import app
from residua.errors import CorruptFileError
from residua.messaging.client import OutgoingRecord, send
from residua.messaging.records.events import CPU_HEADER
from residua.messaging.settings import KafkaSettings
from residua.obscore import metadata
from residua.outcomes import failed
from residua.recreation.lookup.log import line_of, read_log
from residua.recreation.restore import restore_ledgers
from residua.storage.objects import local_path
from residua.storage.runs.ledger_files import LedgerFiles
from residua.testing.embedded_broker import EmbeddedBroker
from residua.worker.conclude import conclude
from residua_schemas import ArrivalPlace, VisitArrival, VisitDetector, outcome_from_json


@pytest.fixture(scope="module")
def postgres():
    if reason := postgres_missing("pg_sphere"):
        pytest.skip(reason)
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request, tmp_path):
    def make(name):
        if request.param == "sqlite":
            return f"sqlite:///{tmp_path}/{name}.sqlite"
        return request.getfixturevalue("postgres").create_database(name, ["pg_sphere"])

    return make


def contents(url):
    """All rows of all tables, without the numbers that only this database gives."""
    engine = create_engine(url)
    found = {}
    with engine.connect() as connection:
        for table in metadata.sorted_tables:
            columns = [c for c in table.columns if c.name not in {"row_id", "visitdetectorid"}]
            found[table.name] = sorted(map(repr, connection.execute(select(*columns))))
    engine.dispose()
    return found


def files(root):
    found = [p for p in Path(root).rglob("*") if p.is_file() and p.suffix != ".draft"]
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


def rebuild(*arguments):
    return CliRunner().invoke(app, ["rebuild", *map(str, arguments)])


def test_everything_comes_back_the_same(burnable, tmp_path, new_database):
    copy = burnable
    log = tmp_path / "outcomes.jsonl"
    log.write_text("".join(f"{line_of(record)}\n" for record in copy.records))
    assert list(read_log(log)) == copy.records
    timed = replace(copy.records[0], headers=((CPU_HEADER, b"1.188"), ("other", None)))
    (tmp_path / "timed.jsonl").write_text(line_of(timed))
    assert list(read_log(tmp_path / "timed.jsonl")) == [timed]
    url = copy.fill(new_database("first"))
    rows, bytes_ = contents(url), files(copy.output_root)
    assert len(rows["obscore"]) > len(copy.created)
    assert rows["dia_source"]
    shutil.rmtree(copy.output_root)
    repo = tmp_path / "repo"
    again = new_database("second")
    done = rebuild(copy.output_root, "--catalog", again, "--log", log, "--butler", repo, "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert (answer["images_made"], answer["images_lost"], answer["refused"]) == (2, [], 0)
    assert contents(again) == rows
    assert files(copy.output_root) == bytes_
    with Butler.from_config(str(repo), collections="residua") as butler:
        for created in copy.created:
            image = butler.get(butler.get_dataset(created.dataset_id))
            assert image.image.array.shape == created.shape

    # A worker that meets an arrival again repeats what stands in the ledger.
    def never(number):
        raise AssertionError(number)

    for arrival, outcome in zip(copy.arrivals, copy.outcomes, strict=True):
        ledger = LedgerFiles(copy.output_root, outcome.run, arrival.visit_detector)
        assert conclude(ledger, arrival, outcome.place, never).outcome == outcome

    # Killed in the middle: what stands is left, what is missing is made.
    local_path(copy.created[0].uri).unlink()
    local_path(copy.created[1].preview_uri).unlink()
    third = rebuild(copy.output_root, "--catalog", new_database("third"), "--log", log, "--json")
    assert json.loads(third.stdout)["images_made"] == 2
    assert files(copy.output_root) == bytes_
    full = rebuild(copy.output_root, "--catalog", again, "--log", log)
    assert full.exit_code == 1
    assert "CatalogNotEmptyError" in full.output


def test_a_failure_comes_back_with_the_bytes_it_is_about(tmp_path):
    """A file that could not be used, of an arrival that does not tell its checksum."""
    who = VisitDetector(instrument="Sim", visit=1, detector=0)
    arrival = VisitArrival(visit_detector=who, band="r", image_uri="file:///damaged.fits")
    place = ArrivalPlace(append_time_ms=1700, partition=0, offset=3)
    roots = [str(tmp_path / name) for name in ("first", "again")]
    first, again = (LedgerFiles(root, "run", who) for root in roots)
    error = CorruptFileError("truncated")
    checksum = f"sha256:{'5' * 64}"

    def fail(number):
        return failed(arrival, "run", error, error.responsible, number=number)

    def never(number):
        raise AssertionError(number)

    outcome = conclude(first, arrival, place, fail, lambda: checksum).outcome
    sent = outcome_from_json(outcome.model_dump_json(exclude_none=True))
    restore_ledgers(roots[1], [sent], zero_point=None, lossless=False)
    assert files(roots[1]) == files(roots[0])
    assert conclude(again, arrival, place, never, lambda: checksum).outcome == outcome
    # Mended in place it is another arrival.
    mended = conclude(again, arrival, place, fail, lambda: f"sha256:{'6' * 64}").outcome
    assert mended.revision == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_burns_and_comes_back_the_same(tmp_path, new_database):
    """As a newcomer would: demo, burn, rebuild, ask for an image."""
    demo = run_demo(tmp_path / "demo", *ARGUMENTS, seconds=1500.0)
    images = tmp_path / "demo" / "difference_images"
    rows, bytes_ = contents(f"sqlite:///{demo['catalog']}"), files(images)
    assert sum(name.endswith(".fits") for name in bytes_) == demo["created"] > 2
    shutil.rmtree(images)
    Path(demo["catalog"]).unlink()
    again = new_database("demo")
    done = rebuild(images, "--catalog", again, "--log", demo["outcome_log"], "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["images_made"] == demo["created"]
    assert contents(again) == rows
    assert files(images) == bytes_
    arguments = ["verify", "--catalog", again, "--all", "--json"]
    verified = CliRunner().invoke(app, arguments)
    assert verified.exit_code == 0, verified.output
    assert json.loads(verified.stdout)["identical"] == demo["created"]
    # The brokers went with the demo; what images weigh is told all the same.
    arguments = ["status", "--catalog", again, "--storage", "--bootstrap", "127.0.0.1:1", "--json"]
    weighed = CliRunner().invoke(app, arguments)
    assert weighed.exit_code == 1, weighed.output
    assert json.loads(weighed.stdout)["images_stored"] == demo["created"], weighed.output


def test_from_kafka_and_an_image_that_cannot_come_back_is_told(burnable, tmp_path):
    # As if nothing had been stored.
    copy = replace(
        burnable, outcomes=[o.model_copy(update={"store": "none"}) for o in burnable.created]
    )
    with EmbeddedBroker() as broker:
        settings = KafkaSettings(kafka_bootstrap=broker.bootstrap)
        records = [OutgoingRecord(r.topic, r.key, r.value) for r in copy.records]
        asyncio.run(send(settings, records))
        log = tmp_path / "log.jsonl"
        done = CliRunner().invoke(app, ["export-log", str(log), "--bootstrap", broker.bootstrap])
        assert done.exit_code == 0, done.output
        exported = list(read_log(log))
        assert sorted(r.value for r in exported) == sorted(r.value for r in copy.records)
        bytes_ = files(copy.output_root)
        shutil.rmtree(copy.output_root)
        lost, kept = copy.created
        local_path(lost.visit_image.uri).unlink()
        done = rebuild(
            copy.output_root,
            "--catalog",
            f"sqlite:///{tmp_path}/new.sqlite",
            "--bootstrap",
            broker.bootstrap,
            "--json",
        )
    assert done.exit_code == 1, done.output
    answer = json.loads(done.stdout)
    assert answer["images_made"] == 1
    assert [one["dataset_id"] for one in answer["images_lost"]] == [str(lost.dataset_id)]
    assert "LostInputError" in answer["images_lost"][0]["reason"]
    back = {n: d for n, d in files(copy.output_root).items() if not n.endswith(".json")}
    assert back.items() <= bytes_.items()
    assert not any(name.endswith(".fits") for name in back)
    assert local_path(kept.detections.uri).exists()
