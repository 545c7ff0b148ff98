"""The bridge as a process: Rubin's messages on a broker, Avro by a real registry (Apicurio).

The registry's archive is 142 MB: its tests run with ``-m slow``.
"""

import asyncio
import io
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import fastavro
import pytest
from tests.support.servers.schema_registry import registry_missing, running_registry
from tests.support.service_process import ServiceProcess
from tests.unit.bridge.test_next_visit import FANNED_OUT, SUMMIT

from residua.bridge.outcome_avro import SCHEMA
from residua.errors import MalformedEventError, TransientError
from residua.messaging.client import OutgoingRecord, read_to_end, send
from residua.messaging.records.schema_registry import SchemaRegistry, frame
from residua.messaging.settings import KafkaSettings
from residua.testing.embedded_broker import EmbeddedBroker
from residua_schemas import (
    DEAD_LETTERS,
    DIFFERENCE_IMAGES,
    NEXT_VISITS,
    TOPICS,
    DeadLetter,
    NextVisit,
    outcome_from_json,
)
from residua_schemas.examples import examples

SUMMIT_TOPIC = "summit.nextVisit"

# As ts_salkafka registers it: doubles, ints and strings, the position an array.
SAL_SCHEMA = {
    "type": "record",
    "name": "logevent_nextVisit",
    "namespace": "lsst.sal.ScriptQueue",
    "fields": [
        {
            "name": name,
            "type": {"type": "array", "items": "double"}
            if isinstance(value, list)
            else {"str": "string", "int": "long", "float": "double"}[type(value).__name__],
        }
        for name, value in SUMMIT.items()
    ],
}


@pytest.fixture(scope="module")
def registry_url():
    reason = registry_missing()
    if reason is not None:
        pytest.skip(reason)
    with running_registry() as url:
        yield url


@pytest.fixture
def broker():
    topics = [*(t.name for t in TOPICS), SUMMIT_TOPIC, "outcomes-avro"]
    with EmbeddedBroker(topics=topics) as running:
        yield KafkaSettings(kafka_bootstrap=running.bootstrap)


def start(broker, directory, **settings):
    values = {"kafka_bootstrap": broker.kafka_bootstrap, "summit_topic": SUMMIT_TOPIC, **settings}
    environment = {f"RESIDUA_{k.upper()}": str(v) for k, v in values.items()}
    return ServiceProcess("bridge", "residua.bridge", {**os.environ, **environment}, directory)


def read(broker, topic):
    async def all_of_it():
        return [r async for r in read_to_end(broker, topic)]

    return asyncio.run(all_of_it())


def wait_for(broker, topic, number, process):
    deadline = time.monotonic() + 120
    while len(found := read(broker, topic)) < number:
        assert process.exit_code is None, process.text()[-2000:]
        assert time.monotonic() < deadline, (topic, len(found), process.text()[-2000:])
        time.sleep(0.3)
    return found


def now(**changes):
    return {"private_efdStamp": time.time(), "private_sndStamp": time.time() + 37.0, **changes}


def test_fanned_out_messages_become_announcements_whatever_they_come_in(broker, tmp_path):
    stamp = {"private_sndStamp": time.time() + 37.0}
    plain = FANNED_OUT | stamp
    envelope = {"specversion": "1.0", "id": "1", "type": "com.example.kafka", "source": "/fanout"}
    bodies = [
        plain,
        {**envelope, "data": plain | {"detector": 5}},
        {k: str(v) for k, v in (plain | {"detector": 6}).items()},
        plain | {"instrument": ""},
        plain | {"private_sndStamp": time.time() - 7200},
        plain | {"coordinateSystem": 3},
    ]
    values = [json.dumps(b).encode() for b in bodies]
    values += [b"not JSON", frame(7, b"\x02\x04")]
    asyncio.run(send(broker, [OutgoingRecord(SUMMIT_TOPIC, b"k", v) for v in values]))
    process = start(broker, tmp_path)
    try:
        letters = wait_for(broker, DEAD_LETTERS.name, 3, process)
        found = wait_for(broker, NEXT_VISITS.name, 3, process)
    finally:
        assert process.stop(60) == 0
    events = [NextVisit.model_validate_json(r.value) for r in found]
    assert sorted(e.detectors[0] for e in events) == [5, 6, 94]
    assert {(e.band, e.group) for e in events} == {("r", FANNED_OUT["groupId"])}
    said = [DeadLetter.model_validate_json(r.value).message for r in letters]
    assert sum("altitude and azimuth" in s for s in said) == 1
    assert sum("neither Avro framed with a schema's id nor JSON" in s for s in said) == 1
    assert sum("Avro of schema 7: set RESIDUA_SCHEMA_REGISTRY_URL" in s for s in said) == 1
    assert {r.key for r in found} == {b"LSSTCam"}


@pytest.mark.slow
def test_the_summit_s_avro_is_read_with_the_registry_and_outcomes_are_written_with_it(
    broker, tmp_path, registry_url
):
    registry = SchemaRegistry(registry_url)
    number = registry.register(f"{SUMMIT_TOPIC}-value", SAL_SCHEMA)
    assert registry.register(f"{SUMMIT_TOPIC}-value", SAL_SCHEMA) == number
    visits = [SUMMIT | now(groupId=f"g{n}") for n in range(2)]
    records = [OutgoingRecord(SUMMIT_TOPIC, b"", frame(number, encoded(v))) for v in visits]
    records += [
        OutgoingRecord(SUMMIT_TOPIC, b"", frame(number, encoded(SUMMIT)[:40])),
        OutgoingRecord(SUMMIT_TOPIC, b"", frame(987_654, encoded(SUMMIT))),
    ]
    outcomes = [e for e in examples().values() if hasattr(e, "outcome")]
    records += [
        OutgoingRecord(DIFFERENCE_IMAGES.name, o.key, o.model_dump_json(exclude_none=True).encode())
        for o in outcomes
    ]
    asyncio.run(send(broker, records))
    process = start(
        broker, tmp_path, schema_registry_url=registry_url, outcomes_avro_topic="outcomes-avro"
    )
    try:
        announced = wait_for(broker, NEXT_VISITS.name, 2 * 189, process)
        letters = wait_for(broker, DEAD_LETTERS.name, 2, process)
        written = wait_for(broker, "outcomes-avro", len(outcomes), process)
    finally:
        assert process.stop(60) == 0
    groups = [NextVisit.model_validate_json(r.value).group for r in announced]
    assert {g: groups.count(g) for g in groups} == {"g0": 189, "g1": 189}
    said = [DeadLetter.model_validate_json(r.value).message for r in letters]
    assert any("987654, which the registry does not know" in s for s in said)
    assert any(f"not Avro of schema {number}" in s for s in said)
    # Whoever has the registry alone can read them.
    reader = SchemaRegistry(registry_url)
    found = {d["outcome"]: d for d in (reader.decode(r.value, "o") for r in written)}
    assert set(found) == {"created", "skipped", "failed"}
    by_kind = {o.outcome: o for o in outcomes}
    for kind, row in found.items():
        assert outcome_from_json(row["event"].encode()) == by_kind[kind]
        assert row["dataset_id"] == str(by_kind[kind].dataset_id)
        assert row["visit"] == by_kind[kind].visit_detector.visit
    assert found["created"]["uri"] == by_kind["created"].uri
    assert found["failed"]["responsible"] == by_kind["failed"].responsible
    assert {r.key for r in written} == {o.key for o in outcomes}


def encoded(visit):
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, SAL_SCHEMA, visit)
    return stream.getvalue()


def test_the_schema_of_outcomes_is_avro():
    assert fastavro.parse_schema(SCHEMA)["name"] == "org.residua.DifferenceImageOutcome"


class Broken(BaseHTTPRequestHandler):
    """A registry that answers as it is told."""

    answer = (500, b"no")

    def do_GET(self):
        code, body = self.answer
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((500, b"down"), TransientError),
        ((401, b"who are you"), TransientError),
        ((200, b"<html>"), TransientError),
        ((200, b'{"schema": "{"}'), MalformedEventError),
        ((404, b"{}"), MalformedEventError),
    ],
)
def test_a_registry_that_fails_is_an_outage_and_one_that_does_not_know_is_none(answer, error):
    server = HTTPServer(("127.0.0.1", 0), type("B", (Broken,), {"answer": answer}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    registry = SchemaRegistry(f"http://user:secret@127.0.0.1:{server.server_port}")
    try:
        with pytest.raises(error) as e:
            registry.decode(frame(1, b"x"), "t/0/0")
        assert "secret" not in str(e.value)
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(TransientError):
        registry.register("s", SCHEMA)
