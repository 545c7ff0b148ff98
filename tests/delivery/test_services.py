"""Worker and catalog consumer as real processes: an outcome for every arrival, whatever comes.

Runs on the embedded broker, and with ``-m slow`` on Apache Kafka.
"""

import json
import time

import pytest
from tests.support.kafka_tools import Delivery, arrival, arrival_record
from tests.support.servers.server_process import wait_until
from typer.testing import CliRunner

from residua.cli.main import app
from residua.messaging.client import OutgoingRecord
from residua_schemas import VISIT_ARRIVALS

pytestmark = [
    pytest.mark.timeout(1200),
    pytest.mark.parametrize(
        "broker_settings",
        ["embedded", pytest.param("apache", marks=pytest.mark.slow)],
        indirect=True,
    ),
]

POISON = {
    "not JSON": b'{"visit_detector": ',
    "not UTF-8": b"\xff\xfe\x00",
    "empty": b"",
    "no value": None,
    "another type": b"[1, 2, 3]",
    "unknown version": b'{"schema_version": "7.0"}',
    "missing fields": b'{"schema_version": "1.0"}',
    "wrong field": b'{"visit_detector": {"instrument": "a b", "visit": -1, "detector": 0},'
    b' "band": "r", "image_uri": "x"}',
    "NaN": b'{"visit_detector": {"instrument": "S", "visit": NaN, "detector": 0}}',
    "deep": b"[" * 20_000,
    "huge number": b'{"visit": ' + b"9" * 5_000 + b"}",
}


def poison(delivery: Delivery, value: bytes | None) -> OutgoingRecord:
    topic = delivery.settings.topic_name(VISIT_ARRIVALS)
    return OutgoingRecord(topic, b"poison", value, (("ce_id", b"1"), ("odd", b"\xff")))


def test_every_arrival_has_its_outcome_and_poison_is_kept_whole(delivery):
    wishes = {
        1: "",
        2: "fail",
        3: "raise",
        4: "crash",
        5: "",
        6: "hang",
        7: "hang&once",
        8: "transient&once",
        9: "template",
        10: "",
    }
    records = [arrival_record(delivery.settings, arrival(v, w)) for v, w in wishes.items()]
    for position, value in enumerate(POISON.values()):
        records.insert(2 * position, poison(delivery, value))
    delivery.send(records)
    worker = delivery.start_worker(subtraction_timeout=2)
    catalog = delivery.start_catalog()
    account = delivery.wait(
        lambda a: (
            len(a.outcomes) == len(wishes)
            and len(a.dead_letters) == len(POISON)
            and len(a.rows) == a.kinds["created"]
        ),
        seconds=400,
        alive=[worker, catalog],
    )
    outcomes = {o.visit_detector.visit: o for o in account.outcomes}
    assert {v for v, o in outcomes.items() if o.outcome == "created"} == {1, 5, 7, 8, 10}
    errors = {v: o.error for v, o in outcomes.items() if o.outcome == "failed"}
    assert errors == {
        2: "CorruptFileError",
        3: "InternalError",
        4: "WorkerCrashError",
        6: "SubtractionTimeoutError",
    }
    assert outcomes[9].outcome == "skipped"
    assert outcomes[6].numbers == {"timeout": 2.0, "attempts": 2.0}
    assert account.conflicts == account.repeats == account.dead_letter_repeats == 0
    assert set(account.rows.values()) == set(account.files)
    values = {letter.value for letter in account.dead_letters}
    assert values == set(POISON.values())
    versions = [d for d in account.dead_letters if d.error == "UnsupportedVersionError"]
    assert [d.value for d in versions] == [POISON["unknown version"]]
    assert all(d.headers[1].value == b"\xff" for d in account.dead_letters)
    assert worker.stop() == 0
    assert catalog.stop() == 0


def test_killed_worker_and_catalog_lose_nothing_and_double_nothing(delivery):
    visits = range(100, 124)
    delivery.send(arrival(v, "sleep=0.1") for v in visits)
    worker, catalog = delivery.start_worker(), delivery.start_catalog()
    for enough in (4, 12):
        delivery.wait(lambda a, n=enough: len(a.outcomes) >= n, alive=[worker])
        worker.kill()
        catalog.kill()
        worker, catalog = delivery.start_worker(), delivery.start_catalog()
    account = delivery.wait(
        lambda a: len(a.outcomes) == len(visits) == len(a.rows), alive=[worker, catalog]
    )
    assert set(account.visits) == set(visits)
    assert account.conflicts == 0
    # One for each kill.
    assert account.repeats <= 2
    assert len(account.files) == len(visits)


def test_redelivery_changes_no_row_and_no_file(delivery):
    events = [arrival(v) for v in range(200, 208)]
    delivery.send(events)
    worker, catalog = delivery.start_worker(), delivery.start_catalog()
    before = delivery.wait(lambda a: len(a.rows) == len(events), alive=[worker, catalog])
    rows, files = catalog_dump(delivery), file_bytes(delivery)
    delivery.send(events)
    after = delivery.wait(lambda a: a.repeats == len(events), alive=[worker, catalog])
    until_taken_up(delivery)
    assert after.conflicts == 0
    assert {o.dataset_id: o for o in after.outcomes} == {o.dataset_id: o for o in before.outcomes}
    assert catalog_dump(delivery) == rows
    assert file_bytes(delivery) == files


def test_a_catalog_rebuilt_from_kafka_equals_the_old_one(delivery, tmp_path, monkeypatch):
    wishes = ["", "fail", "", ""]
    delivery.send(arrival(v, w) for v, w in enumerate(wishes, 250))
    delivery.send([arrival(250, "", revision=1), arrival(250, "")])
    worker, catalog = delivery.start_worker(), delivery.start_catalog()
    delivery.wait(lambda a: len(a.rows) == 3 and a.repeats == 1, alive=[worker, catalog])
    until_taken_up(delivery)
    worker.stop()
    catalog.stop()
    monkeypatch.setenv("RESIDUA_TOPIC_PREFIX", delivery.settings.topic_prefix)
    url = f"sqlite:///{tmp_path}/rebuilt.sqlite"
    command = ["catalog", "rebuild", url, "--bootstrap", delivery.settings.kafka_bootstrap]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    # Three difference images and the three visit images they were made of.
    # From six outcomes and six arrivals.
    assert json.loads(done.stdout) == {"records": 12, "rows": 6, "refused": 0}
    assert dump(url) == catalog_dump(delivery)
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 1
    assert "give an empty database" in again.output


@pytest.mark.slow
def test_the_newest_revision_wins_in_the_catalog(delivery):
    worker, catalog = delivery.start_worker(), delivery.start_catalog()
    delivery.send([arrival(300, "a", revision=0), arrival(300, "b", revision=1)])
    delivery.wait(lambda a: len(a.outcomes) == 2 and a.rows, alive=[worker, catalog])
    delivery.send([arrival(300, "a", revision=0)])
    delivery.wait(lambda a: a.repeats == 1, alive=[worker, catalog])
    until_taken_up(delivery)
    difference_image, visit_image = sorted(
        catalog_dump(delivery), key=lambda row: row["dataset_type"]
    )
    assert difference_image["revision"] == 1
    assert visit_image["revision"] > 1 << 43


def test_sigterm_finishes_the_arrival_in_hand(delivery):
    delivery.send(arrival(v, "sleep=3") for v in range(400, 406))
    worker = delivery.start_worker()
    delivery.wait(lambda a: len(a.outcomes) >= 1, alive=[worker])
    time.sleep(0.5)
    assert worker.stop() == 0
    done = len(delivery.account().outcomes)
    assert 1 <= done < 6
    worker = delivery.start_worker()
    account = delivery.wait(lambda a: len(a.outcomes) == 6, alive=[worker])
    assert account.repeats == account.conflicts == 0


def test_a_component_that_stays_silent_ends_the_worker_without_acknowledging(delivery):
    delivery.send([arrival(500, "transient")])
    worker = delivery.start_worker(transient_attempts=2, transient_pause=0.01)
    assert worker.wait(300) != 0
    assert delivery.account().outcomes == ()
    again = delivery.start_worker(transient_attempts=2, transient_pause=0.01)
    assert again.wait(300) != 0
    assert again.text().count("component_silent") == worker.text().count("component_silent") == 4


@pytest.mark.slow
def test_a_record_too_large_to_copy_leaves_its_place(delivery):
    too_large = b'{"padding": "' + b"x" * 1_000_000
    delivery.send([poison(delivery, too_large), arrival(900)])
    worker = delivery.start_worker()
    account = delivery.wait(lambda a: len(a.outcomes) == len(a.dead_letters) == 1, alive=[worker])
    [letter] = account.dead_letters
    assert letter.value in {too_large, None}


def until_taken_up(delivery: Delivery):
    """Wait until the catalog consumer has taken up every outcome there is."""
    wait_until(lambda: delivery.catalog_lag() == 0, "the catalog is abreast", seconds=240.0)


def catalog_dump(delivery: Delivery):
    return dump(f"sqlite:///{delivery.catalog}")


def dump(url: str):
    from sqlalchemy import create_engine, select

    from residua.obscore import obscore

    engine = create_engine(url)
    with engine.connect() as connection:
        query = select(obscore).order_by(obscore.c.dataset_id)
        rows = [
            {k: v for k, v in row.items() if k != "row_id"}
            for row in connection.execute(query).mappings()
        ]
    engine.dispose()
    return rows


def file_bytes(delivery: Delivery):
    return {p: p.read_bytes() for p in delivery.output.rglob("*.fits")}
