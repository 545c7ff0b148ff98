"""`residua dead-letters`, on the embedded broker and on Apache Kafka."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from residua.cli.main import app
from residua.errors import MalformedEventError, UnsupportedVersionError
from residua.messaging.client import OutgoingRecord, event_record, read_to_end, send
from residua.messaging.making_topics import create_topics
from residua.messaging.records.events import IncomingRecord, dead_letter, incoming
from residua.replay.letters import DEAD_LETTER_HEADER
from residua.replay.record_headers import REPLAY_HEADER
from residua_schemas import DEAD_LETTERS, VISIT_ARRIVALS, DeadLetter

POISON = b'{"broken": \xff\x00\x1b[31m'


@pytest.fixture
def letters(broker_settings, monkeypatch):
    """Two poison records with their dead letters; the second letter holds no bytes."""
    monkeypatch.setenv("RESIDUA_KAFKA_BOOTSTRAP", broker_settings.kafka_bootstrap)
    monkeypatch.setenv("RESIDUA_TOPIC_PREFIX", broker_settings.topic_prefix)
    return asyncio.run(_bury(broker_settings))


async def _bury(settings):
    await create_topics(settings, partitions=1)
    topic = settings.topic_name(VISIT_ARRIVALS)
    headers = (("ce_id", b"1"), ("odd", b"\xff"))
    sent = [OutgoingRecord(topic, b"k1", POISON, headers), OutgoingRecord(topic, b"k2", b"[]")]
    await send(settings, sent)
    found = {}
    async for r in read_to_end(settings, topic):
        found[r.key] = IncomingRecord(
            r.topic, r.partition, r.offset, r.key, r.value, r.timestamp, tuple(r.headers)
        )
    made = [
        dead_letter(found[b"k1"], MalformedEventError("not [red]JSON[/]"), service="worker"),
        dead_letter(found[b"k2"], UnsupportedVersionError("v9"), service="worker", whole=False),
    ]
    place = settings.topic_name(DEAD_LETTERS)
    records = [event_record(place, d, d.record_key, source="/test") for d in made]
    # A repeat of the first, as a crash leaves one, and something that is no dead letter.
    await send(settings, [*records, records[0], OutgoingRecord(place, b"x", b"\xff")])
    return [d.record_key.decode() for d in made]


def run(*arguments, code=0):
    result = CliRunner().invoke(app, ["dead-letters", *arguments])
    assert result.exit_code == code, result.output
    return result


async def _arrivals(settings):
    return [r async for r in read_to_end(settings, settings.topic_name(VISIT_ARRIVALS))]


def test_list(letters):
    found = json.loads(run("list", "--json").stdout)
    assert sorted(d["place"] for d in found) == sorted(letters)
    assert {d["error"] for d in found} == {"MalformedEventError", "UnsupportedVersionError"}
    assert {d["responsible"] for d in found} == {"producer"}
    only = json.loads(run("list", "--json", "--error", "MalformedEventError").stdout)
    assert [d["place"] for d in only] == letters[:1]
    assert json.loads(run("list", "--json", "--service", "catalog").stdout) == []
    table = run("list").stdout
    assert "2 dead letters" in table
    assert "[red]" in table.replace("\n", "")


def test_show(letters):
    shown = run("show", letters[0])
    assert f"0x{POISON.hex()}" in shown.stdout
    assert "header odd: 0xff" in shown.stdout
    assert "key: k1" in shown.stdout
    assert run("show", letters[0], "--raw").stdout_bytes == POISON
    letter = DeadLetter.model_validate_json(run("show", letters[0], "--json").stdout)
    assert letter.value == POISON
    # The second letter kept no bytes: they come from the topic.
    assert run("show", letters[1], "--raw").stdout_bytes == b"[]"


def test_show_what_is_not_there(letters):
    assert letters
    assert "no dead letter" in run("show", "a/0/0", code=1).output


def test_requeue_one_and_all(letters, broker_settings):
    assert "1 records would be sent" in run("requeue", letters[0], "--dry-run").stdout
    assert len(asyncio.run(_arrivals(broker_settings))) == 2
    report = json.loads(run("requeue", letters[0], "--json").stdout)
    assert report == {"selected": 1, "sent": 1, "refused": 0, "dry_run": False}
    again = [r for r in asyncio.run(_arrivals(broker_settings)) if REPLAY_HEADER in dict(r.headers)]
    assert [(r.key, r.value) for r in again] == [(b"k1", POISON)]
    headers = dict(again[0].headers)
    assert headers["odd"] == b"\xff"
    assert headers[DEAD_LETTER_HEADER].decode() == letters[0]
    report = json.loads(run("requeue", "--all", "--json").stdout)
    assert report["sent"] == 1
    assert sorted(r.value for r in asyncio.run(_arrivals(broker_settings))) == sorted(
        [POISON, POISON, b"[]", b"[]"]
    )
    # What was sent again is remembered, and can be sent once more when that is asked for.
    assert json.loads(run("requeue", "--all", "--json").stdout)["sent"] == 0
    assert json.loads(run("list", "--json").stdout) == []
    became = {
        d["place"]: d["became"] for d in json.loads(run("list", "--json", "--resolved").stdout)
    }
    assert became == dict.fromkeys(letters, "requeued")
    again = json.loads(run("requeue", "--all", "--resolved", "--dry-run", "--json").stdout)
    assert again["sent"] == 2


def test_requeueing_what_is_refused_again_never_doubles_it(letters, broker_settings):
    seen = asyncio.run(_arrivals(broker_settings))
    for calls in range(1, 5):
        assert json.loads(run("requeue", "--all", "--json").stdout)["sent"] == 2
        arrivals = asyncio.run(_arrivals(broker_settings))
        assert len(arrivals) == 2 + 2 * calls
        asyncio.run(_refuse(broker_settings, [r for r in arrivals if r not in seen]))
        seen = arrivals
        unresolved = json.loads(run("list", "--json").stdout)
        assert len(unresolved) == 2
    every = json.loads(run("list", "--json", "--resolved").stdout)
    assert [d["became"] for d in every].count("refused again") == len(every) - 2 == 8
    run("dismiss", *(d["place"] for d in unresolved))
    assert json.loads(run("list", "--json").stdout) == []


async def _refuse(settings, records):
    topic = settings.topic_name(DEAD_LETTERS)
    made = [
        dead_letter(incoming(r), MalformedEventError("still broken"), service="worker")
        for r in sorted(records, key=lambda r: r.offset)
    ]
    await send(settings, [event_record(topic, d, d.record_key, source="/test") for d in made])


def test_requeue_needs_places_or_all():
    assert "--all" in run("requeue", code=2).output


def test_letter_that_names_a_foreign_topic_is_refused(letters, broker_settings):
    assert letters
    record = IncomingRecord("__consumer_offsets", 0, 7, b"k", b"v", 0)
    letter = dead_letter(record, MalformedEventError("m"), service="worker")
    topic = broker_settings.topic_name(DEAD_LETTERS)
    asyncio.run(
        send(broker_settings, [event_record(topic, letter, letter.record_key, source="/test")])
    )
    report = json.loads(run("requeue", "__consumer_offsets/0/7", "--json").stdout)
    assert (report["sent"], report["refused"]) == (0, 1)
