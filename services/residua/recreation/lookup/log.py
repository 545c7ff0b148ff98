"""Outcomes and templates outside Kafka: one JSON object a line, from which all can be rebuilt."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from residua.errors import MalformedEventError
from residua.messaging.client import read_to_end
from residua.messaging.records.events import IncomingRecord, incoming
from residua.messaging.settings import KafkaSettings
from residua_schemas import DIFFERENCE_IMAGES, TEMPLATE_COADDS, Topic

__all__ = ["LOGGED", "line_of", "read_log", "records_of_topics", "write_log"]

LOGGED: tuple[Topic, ...] = (DIFFERENCE_IMAGES, TEMPLATE_COADDS)
"""What is kept: nothing else is needed."""

_NAMES = {topic.name for topic in LOGGED}


async def records_of_topics(settings: KafkaSettings) -> AsyncIterator[IncomingRecord]:
    """Read the topics to their ends; names of topics are given without prefix."""
    for topic in LOGGED:
        async for record in read_to_end(settings, settings.topic_name(topic)):
            found = incoming(record)
            yield IncomingRecord(**{**vars(found), "topic": topic.name})


def line_of(record: IncomingRecord) -> str:
    """Return a record as a line of a log."""
    body: dict[str, object] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "key": _text(record.key),
        "value": _text(record.value),
    }
    if record.headers:
        # What an outcome took stands there, and in its row.
        body["headers"] = [[name, _text(value)] for name, value in record.headers]
    return json.dumps(body, separators=(",", ":"))


async def write_log(settings: KafkaSettings, path: Path) -> int:
    """Write the topics into a log, which has its name once it is whole; returns its records."""
    number = 0
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("w", encoding="utf-8") as file:
            async for record in records_of_topics(settings):
                file.write(f"{line_of(record)}\n")
                number += 1
        partial.replace(path)
    finally:
        # Of brokers that did not answer, or not to the end, nothing stays.
        partial.unlink(missing_ok=True)
    return number


def read_log(path: Path) -> Iterator[IncomingRecord]:
    """Yield the records of a log.

    A line that is an event itself, without topic and offset, counts as one too: what
    ``kafka-console-consumer`` prints.

    Raises
    ------
    residua.errors.MalformedEventError
        A line is no JSON object.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file):
            if not line.strip():
                continue
            try:
                body = json.loads(line)
                if body.get("topic") in _NAMES and "timestamp_ms" in body:
                    yield IncomingRecord(
                        body["topic"],
                        int(body["partition"]),
                        int(body["offset"]),
                        _bytes(body["key"]),
                        _bytes(body["value"]),
                        int(body["timestamp_ms"]),
                        # Older logs have none.
                        tuple((str(n), _bytes(v)) for n, v in body.get("headers", ())),
                    )
                    continue
            except (ValueError, KeyError, TypeError, AttributeError) as e:
                raise MalformedEventError(
                    f"{path}, line {number + 1} is no line of a log: {e}", line=number + 1
                ) from e
            topic = DIFFERENCE_IMAGES if "outcome" in body else TEMPLATE_COADDS
            yield IncomingRecord(topic.name, 0, number, None, line.strip(), 0)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
