"""`residua replay`, on the embedded broker and on Apache Kafka."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from residua.cli.main import app
from residua.errors import MalformedEventError
from residua.identity import dataset_id
from residua.messaging.client import OutgoingRecord, event_record, read_to_end, send
from residua.messaging.making_topics import create_topics
from residua.messaging.records.events import IncomingRecord, dead_letter, incoming
from residua.replay import (
    REPLAY_HEADER,
    RUN_LABEL_HEADER,
    ProgressFile,
    Selection,
    Target,
    run_label,
)
from residua.replay.operation import run_replay
from residua.replay.progress import ProgressFileError
from residua.replay.record_headers import place_of
from residua_schemas import (
    DEAD_LETTERS,
    DIFFERENCE_IMAGES,
    VISIT_ARRIVALS,
    DifferenceImageFailed,
    DifferenceImageSkipped,
    VisitArrival,
    VisitDetector,
)
from residua_schemas.examples import examples

RUN = "residua/0/dp1/3f2a9c51d0be"
CREATED = next(e for t, e in examples().items() if t.__name__ == "DifferenceImageCreated")


def arrival(visit, detector=0, *, day_obs=20261122, revision=0, instrument="LSSTCam"):
    return VisitArrival(
        visit_detector=VisitDetector(instrument=instrument, visit=visit, detector=detector),
        band="r",
        image_uri=f"s3://visits/{visit}_{detector}.fits",
        day_obs=day_obs,
        revision=revision,
    )


def outcome(kind, of, *, run=RUN, number=0):
    common = {
        "dataset_id": dataset_id(run, of.visit_detector),
        "run": run,
        "visit_detector": of.visit_detector,
        "revision": number,
        "arrival": of,
    }
    if kind == "created":
        return CREATED.model_copy(update={**common, "day_obs": of.day_obs or 20261122})
    if kind == "skipped":
        return DifferenceImageSkipped(**common, reason="no_template", message="m", numbers={})
    return DifferenceImageFailed(
        **common, error="NoWcsError", responsible="producer", message="m", numbers={}
    )


def fill(settings, arrivals, outcomes, *, raw=()):
    """Send arrivals and outcomes; returns records of the arrivals topic by place."""

    async def run():
        await create_topics(settings, partitions=2)
        arrivals_topic = settings.topic_name(VISIT_ARRIVALS)
        records = [
            event_record(arrivals_topic, a, a.visit_detector.key, source="/test") for a in arrivals
        ]
        records += [OutgoingRecord(arrivals_topic, b"k", value) for value in raw]
        topic = settings.topic_name(DIFFERENCE_IMAGES)
        records += [event_record(topic, o, o.key, source="/test") for o in outcomes]
        await send(settings, records)

    asyncio.run(run())


def arrivals_on(settings):
    async def run():
        return [r async for r in read_to_end(settings, settings.topic_name(VISIT_ARRIVALS))]

    return asyncio.run(run())


def replayed(settings):
    """Replayed arrivals: (visit, detector, remake) -> headers."""
    found = {}
    for record in arrivals_on(settings):
        headers = dict(record.headers)
        if REPLAY_HEADER in headers:
            a = VisitArrival.model_validate_json(record.value)
            found[a.visit_detector.visit, a.visit_detector.detector, a.remake] = headers
            # The producer's number is the producer's.
            assert a.revision == 0
    return found


@pytest.fixture
def replay(broker_settings, monkeypatch):
    monkeypatch.setenv("RESIDUA_KAFKA_BOOTSTRAP", broker_settings.kafka_bootstrap)
    monkeypatch.setenv("RESIDUA_TOPIC_PREFIX", broker_settings.topic_prefix)

    def run(*arguments, code=0):
        result = CliRunner().invoke(app, ["replay", *arguments, "--json"])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout) if code == 0 else result.output

    return run


def test_each_selection(replay, broker_settings):
    arrivals = [
        arrival(100, 0, day_obs=20261121),
        arrival(101, 0),
        arrival(102, 1),
        arrival(103, 2, instrument="DECam"),
        arrival(104, 3, day_obs=None),
    ]
    outcomes = [
        outcome("created", arrivals[0]),
        outcome("failed", arrivals[1]),
        outcome("skipped", arrivals[2]),
        outcome("created", arrivals[4]),
    ]
    fill(broker_settings, arrivals, outcomes)

    def selected(*arguments):
        return replay(*arguments, "--dry-run")["selected"]

    assert selected("--all") == 5
    assert selected("--day-obs", "20261121") == 1
    # The day of the arrival that names none is in its outcome.
    assert selected("--day-obs", "20261122:20261130") == 4
    assert selected("--visits", "101:102") == 2
    assert selected("--visits", "101") == 1
    assert selected("--instrument", "DECam") == 1
    assert selected("--detector", "1", "--detector", "2") == 2
    assert selected("--outcome", "failed") == 1
    assert selected("--outcome", "failed", "--outcome", "skipped") == 2
    assert selected("--outcome", "none") == 1
    assert selected("--outcome", "failed", "--visits", "102:104") == 0
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%d")
    assert selected("--until", tomorrow) == 5
    assert selected("--since", tomorrow) == 0
    # One place of one partition is one arrival.
    record = arrivals_on(broker_settings)[0]
    assert selected("--offsets", f"{record.partition}:{record.offset}-{record.offset}") == 1
    assert replayed(broker_settings) == {}


def test_same_run_is_a_no_op_where_an_outcome_exists_unless_forced(replay, broker_settings):
    arrivals = [arrival(100), arrival(101), arrival(102)]
    outcomes = [outcome("created", arrivals[0]), outcome("failed", arrivals[1])]
    fill(broker_settings, arrivals, outcomes)
    report = replay("--all")
    assert (report["selected"], report["already_done"], report["sent"]) == (3, 2, 1)
    assert list(replayed(broker_settings)) == [(102, 0, 0)]

    forced = replay("--outcome", "failed", "--force")
    assert (forced["selected"], forced["sent"]) == (1, 1)
    found = replayed(broker_settings)
    assert sorted(found) == [(101, 0, 1), (102, 0, 0)]
    assert found[101, 0, 1][REPLAY_HEADER].decode() == forced["replay"]
    assert found[101, 0, 1]["ce_type"] == b"org.residua.visit-arrival.v1"
    assert forced["target_run"] == RUN


def test_forcing_twice_raises_the_remake_twice(replay, broker_settings):
    first = arrival(100)
    second = first.model_copy(update={"remake": 1})
    fill(broker_settings, [first], [outcome("failed", first)])
    replay("--outcome", "failed", "--force")
    fill(broker_settings, [], [outcome("created", second, number=1)])
    replay("--visits", "100", "--force")
    assert sorted(replayed(broker_settings)) == [(100, 0, 1), (100, 0, 2)]


def test_of_equal_revisions_the_later_arrival_is_made_again_with_its_place(replay, broker_settings):
    old = arrival(100)
    new = old.model_copy(update={"image_uri": "s3://visits/corrected.fits"})
    # A duplicate of the old one comes last: its first place counts.
    fill(broker_settings, [old, new, old], [outcome("created", old), outcome("created", new)])
    places = [(r.partition, r.offset) for r in arrivals_on(broker_settings)]
    assert replay("--visits", "100", "--force")["sent"] == 1
    *_, record = arrivals_on(broker_settings)
    sent = VisitArrival.model_validate_json(record.value)
    assert sent == new.model_copy(update={"remake": 1})
    assert place_of(incoming(record)).offset == places[1][1]


def test_new_run_by_label(replay, broker_settings):
    arrivals = [arrival(100), arrival(101)]
    outcomes = [
        *(outcome("created", a) for a in arrivals),
        outcome("created", arrivals[1], run=f"{RUN}/better"),
    ]
    fill(broker_settings, arrivals, outcomes)
    report = replay("--all", "--label", "better")
    assert report["target_run"] == f"{RUN}/better"
    assert (report["already_done"], report["sent"]) == (1, 1)
    [(key, headers)] = replayed(broker_settings).items()
    assert key == (100, 0, 0)
    assert headers[RUN_LABEL_HEADER] == b"better"
    assert run_label(headers.items()) == "better"


def test_dead_letter_that_can_be_read_now(replay, broker_settings):
    alive, dead = arrival(100), arrival(101)
    fill(broker_settings, [alive, dead], [outcome("created", alive)], raw=[b"never readable"])
    records = arrivals_on(broker_settings)

    async def bury():
        topic = broker_settings.topic_name(DEAD_LETTERS)
        letters = []
        for r in records:
            if dead.visit_detector.key == r.key or r.value == b"never readable":
                record = IncomingRecord(r.topic, r.partition, r.offset, r.key, r.value, r.timestamp)
                letter = dead_letter(record, MalformedEventError("m"), service="worker")
                letters.append(event_record(topic, letter, letter.record_key, source="/test"))
        await send(broker_settings, letters)

    asyncio.run(bury())
    report = replay("--outcome", "dead")
    assert (report["selected"], report["sent"], report["unreadable"]) == (1, 1, 1)
    assert list(replayed(broker_settings)) == [(101, 0, 0)]


def test_arrival_past_its_retention_is_taken_from_its_outcome(replay, broker_settings):
    gone = arrival(100)
    fill(broker_settings, [], [outcome("failed", gone)])
    assert replay("--outcome", "failed", "--force")["sent"] == 1
    [record] = arrivals_on(broker_settings)
    sent = VisitArrival.model_validate_json(record.value)
    assert sent == gone.model_copy(update={"remake": 1})


def test_goes_on_where_it_stopped(broker_settings, tmp_path):
    fill(broker_settings, [arrival(v) for v in range(100, 130)], [])
    path = tmp_path / "progress.jsonl"
    selection, target = Selection(visits=(100, 129)), Target()

    class StoppedError(Exception):
        pass

    def stop_after_seven(sent, _total):
        if sent >= 7:
            raise StoppedError

    with pytest.raises(StoppedError):
        asyncio.run(
            run_replay(
                broker_settings,
                selection,
                target,
                rate=20.0,
                progress=ProgressFile(path),
                on_progress=stop_after_seven,
            )
        )
    sent = len(replayed(broker_settings))
    assert sent == 7
    # What came in between is not part of the replay that was started.
    fill(broker_settings, [arrival(110, 5)], [])
    first, _ = ProgressFile(path).read()
    report = asyncio.run(
        run_replay(broker_settings, selection, target, progress=ProgressFile(path))
    )
    assert (report.to_send, report.sent_before, report.sent) == (30, 7, 23)
    assert report.replay == first.replay_id
    replays = [r for r in arrivals_on(broker_settings) if REPLAY_HEADER in dict(r.headers)]
    assert len(replays) == 30
    assert sorted(replayed(broker_settings)) == [(v, 0, 0) for v in range(100, 130)]
    again = asyncio.run(run_replay(broker_settings, selection, target, progress=ProgressFile(path)))
    assert again.sent == 0


def test_progress_file_of_another_replay_is_refused(tmp_path, broker_settings):
    fill(broker_settings, [arrival(100)], [])
    path = tmp_path / "progress.jsonl"
    asyncio.run(run_replay(broker_settings, Selection(), Target(), progress=ProgressFile(path)))
    with pytest.raises(ProgressFileError, match="another selection"):
        asyncio.run(
            run_replay(
                broker_settings, Selection(instrument="X"), Target(), progress=ProgressFile(path)
            )
        )
    path.write_text("something else\n")
    with pytest.raises(ProgressFileError, match="no progress file"):
        ProgressFile(path).read()
