"""Reading events out of Kafka records, and dead letters for what cannot be read."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from aiokafka import ConsumerRecord
from pydantic import BaseModel, ValidationError

from residua.errors import MalformedEventError, ResiduaError, UnsupportedVersionError
from residua_schemas import DeadLetter, RecordHeader

__all__ = [
    "APPEND_TIME",
    "MAX_EVENT_BYTES",
    "IncomingRecord",
    "dead_letter",
    "incoming",
    "parse_event",
]

APPEND_TIME = 1
"""Kafka's timestamp type ``LogAppendTime``."""

MAX_EVENT_BYTES = 1024 * 1024
"""Larger values are not parsed; the largest event in use, an outcome, has some 10 kB."""

_KNOWN_VERSION = re.compile(r"1\.\d+")


@dataclass(frozen=True)
class IncomingRecord:
    """A Kafka record as it came.

    Parameters
    ----------
    timestamp_ms
        When the record was made, ms since 1970, UTC.
    headers
        In order; names may repeat.
    is_append_time
        Whether the broker stamped it when it was appended; else its producer did.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: tuple[tuple[str, bytes | None], ...] = ()
    is_append_time: bool = False

    @property
    def time(self) -> datetime:
        """`timestamp_ms` as a datetime in UTC."""
        return datetime.fromtimestamp(self.timestamp_ms / 1000.0, UTC)

    @property
    def place(self) -> str:
        """Topic, partition and offset, for people."""
        return f"{self.topic}/{self.partition}/{self.offset}"


def incoming(record: ConsumerRecord) -> IncomingRecord:
    """Translate aiokafka's record to ours."""
    return IncomingRecord(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        timestamp_ms=record.timestamp,
        headers=tuple(record.headers),
        is_append_time=record.timestamp_type == APPEND_TIME,
    )


def parse_event[M: BaseModel](
    record: IncomingRecord, read: Callable[[bytes], M], expected: str
) -> M:
    """Validate a record's value.

    Parameters
    ----------
    read
        From bytes to the event; raises `pydantic.ValidationError`.
    expected
        What it should be, for the error's message.

    Raises
    ------
    UnsupportedVersionError
        It announces a schema version this release does not know.
    MalformedEventError
        It is no JSON, or not what the contract asks for.
    """
    value = record.value
    if value is None:
        raise MalformedEventError(f"{record.place} has no value; send the event's JSON")
    if len(value) > MAX_EVENT_BYTES:
        raise MalformedEventError(
            f"{record.place} has {len(value)} bytes, {MAX_EVENT_BYTES} are read; images travel by "
            "reference, never inside an event",
            size_bytes=len(value),
            limit=MAX_EVENT_BYTES,
        )
    try:
        return read(value)
    except ValidationError as e:
        raise _explain(record, value, e, expected) from e


def _explain(
    record: IncomingRecord, value: bytes, error: ValidationError, expected: str
) -> ResiduaError:
    # Also what pydantic reads, Python's parser may refuse: too deep, too long a number.
    try:
        body = json.loads(value)
    except (ValueError, RecursionError) as e:
        return MalformedEventError(f"{record.place} is not JSON ({e}); send UTF-8 JSON")
    version = body.get("schema_version") if isinstance(body, dict) else None
    if isinstance(version, str) and _KNOWN_VERSION.fullmatch(version) is None:
        return UnsupportedVersionError(
            f"{record.place} has schema version {version!r:.40}; this release reads 1.x"
        )
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    first = problems[0]
    where = ".".join(str(part) for part in first["loc"])[:200] or "the whole"
    return MalformedEventError(
        f"{record.place} is no {expected}: {where}: {first['msg'][:300]}", problems=len(problems)
    )


def dead_letter(
    record: IncomingRecord, error: ResiduaError, *, service: str, whole: bool = True
) -> DeadLetter:
    """Dead letter of a record.

    Parameters
    ----------
    service
        The service that could not serve it.
    whole
        Whether to keep value and headers; without them only the place tells where they are.
    """
    headers: Sequence[RecordHeader] = ()
    if whole:
        # `model_construct` keeps raw bytes raw: validation would decode them as base64.
        headers = [
            RecordHeader.model_construct(name=name, value=value) for name, value in record.headers
        ]
    return DeadLetter.model_construct(
        schema_version=DeadLetter.model_fields["schema_version"].default,
        error=type(error).__name__,
        responsible=error.responsible,
        message=error.message if whole else f"{error.message} (too large to be kept here)",
        service=service,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value if whole else None,
        headers=tuple(headers),
    )
