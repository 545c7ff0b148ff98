"""What producers put around an event: taken off, or named in the refusal."""

import base64
import json
from datetime import UTC, datetime

import pytest

from residua.errors import MalformedEventError
from residua.messaging.records.events import IncomingRecord, calendar_time, parse_event
from residua_schemas import VisitArrival
from residua_schemas.examples import examples

ARRIVAL = examples()[VisitArrival]
JSON = ARRIVAL.model_dump_json().encode()
ENVELOPE = {"specversion": "1.0", "id": "1", "type": "t", "source": "/s"}


def parse(value):
    record = IncomingRecord("visit-arrivals", 1, 7, b"k", value, 0)
    return parse_event(record, VisitArrival.model_validate_json, "visit arrival")


def enveloped(**parts):
    return json.dumps(ENVELOPE | parts).encode()


@pytest.mark.parametrize(
    "value",
    [
        JSON,
        b"\xef\xbb\xbf" + JSON,
        enveloped(data=json.loads(JSON)),
        b"\xef\xbb\xbf" + enveloped(data=json.loads(JSON)),
        enveloped(data=JSON.decode(), datacontenttype="application/json"),
        enveloped(data_base64=base64.b64encode(JSON).decode()),
    ],
    ids=["plain", "BOM", "structured", "structured, BOM", "as text", "base64"],
)
def test_an_event_is_read_in_whatever_it_comes(value):
    assert parse(value) == ARRIVAL


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"\0\0\0\0\x2a" + JSON, r"schema registry.* schema id 42, then probably JSON"),
        (b"\0\0\0\x01\0\x14LSSTCam", r"schema registry.* schema id 256, then probably Avro"),
        (b"\x1f\x8b\x08\0", "gzip: let Kafka"),
        (b"SIMPLE  =                    T", "a FITS file: images travel by reference"),
        (b"Obj\x01\x04", "an Avro file"),
        (JSON.decode().encode("utf-16"), "UTF-16 text"),
        (b'{"visit": "\xe9"}', r"no UTF-8 \(byte 11 is 0xe9\)"),
        (b'{"visit": ', "is not JSON"),
        (enveloped(data={"visit": 1}), "visit arrival"),
        (enveloped(data_base64="?"), "visit arrival"),
        (enveloped(), "visit arrival"),
        (b"\0", "is not JSON"),
    ],
)
def test_what_is_refused_is_named(value, said):
    with pytest.raises(MalformedEventError, match=said) as e:
        parse(value)
    assert "utf-32" not in e.value.message
    assert e.value.message.startswith("visit-arrivals/1/7 is ")


@pytest.mark.parametrize(
    ("timestamp_ms", "year"),
    [
        (-1, 1969),
        (1_795_387_024_877, 2026),
        (1_795_387_024_877_000, 9999),
        (2**63 - 1, 9999),
        (-(2**63), 1),
    ],
)
def test_a_time_outside_the_calendar_is_its_end(timestamp_ms, year):
    assert calendar_time(timestamp_ms).year == year
    assert calendar_time(timestamp_ms).isoformat()


def test_a_time_within_is_exact():
    assert calendar_time(1_795_387_024_877) == datetime(2026, 11, 22, 22, 37, 4, 877_000, UTC)
