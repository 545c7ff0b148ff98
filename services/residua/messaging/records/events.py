"""Reading events out of Kafka records, and dead letters for what cannot be read."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from aiokafka import ConsumerRecord
from pydantic import ValidationError

from residua.errors import (
    MalformedEventError,
    ResiduaError,
    UnreadableRecordError,
    UnsupportedVersionError,
)
from residua.messaging.records.envelopes import name_of_bytes, read_value
from residua.messaging.records.lenient import TRIES, UNREADABLE
from residua_schemas import DeadLetter, RecordHeader

__all__ = [
    "APPEND_TIME",
    "CPU_HEADER",
    "MAX_EVENT_BYTES",
    "REPLAY_HEADER",
    "IncomingRecord",
    "calendar_ms",
    "calendar_time",
    "cost_headers",
    "dead_letter",
    "incoming",
    "parse_event",
    "record_value",
]

APPEND_TIME = 1
"""Kafka's timestamp type ``LogAppendTime``."""

REPLAY_HEADER = "residua-replay"
"""Present on every record that is sent again, and on what becomes of it; it names the replay."""

CPU_HEADER = "residua-cpu-seconds"
"""CPU seconds of making an outcome: beside the event, which says the same whenever it is made."""

MAX_EVENT_BYTES = 1024 * 1024
"""Larger values are not parsed; the largest event in use, an outcome, has some 10 kB."""

_EARLIEST_MS, _LATEST_MS = -62_135_596_800_000, 253_402_300_799_999
"""What the calendar holds: the years 1 to 9999."""

_SECONDS = re.compile(rb"\d{1,7}(\.\d{1,6})?")
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
        """`timestamp_ms` as a datetime in UTC, see `calendar_time`."""
        return calendar_time(self.timestamp_ms)

    @property
    def cpu_seconds(self) -> float | None:
        """CPU seconds that its header says its outcome took; `None` where it says none."""
        for name, value in self.headers:
            if name == CPU_HEADER and _SECONDS.fullmatch(value or b""):
                return float(value or b"")
        return None

    @property
    def place(self) -> str:
        """Topic, partition and offset, for people."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def unreadable(self) -> str | None:
        """Why the Kafka client cannot decode it; `None` for all others."""
        for name, reason in self.headers:
            if name is UNREADABLE:
                return (reason or b"").decode(errors="replace")
        return None

    @property
    def is_tombstone(self) -> bool:
        """Whether it has no value; one that cannot be decoded may have."""
        return self.value is None and self.unreadable is None


def calendar_ms(timestamp_ms: int) -> int:
    """Return a record's timestamp, ms since 1970, within what the calendar holds.

    A producer that counts in microseconds is tens of thousands of years ahead: such a time
    becomes the last the calendar holds.
    """
    return min(max(timestamp_ms, _EARLIEST_MS), _LATEST_MS)


def calendar_time(timestamp_ms: int) -> datetime:
    """Return a record's timestamp as a datetime in UTC, see `calendar_ms`."""
    seconds, rest = divmod(calendar_ms(timestamp_ms), 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000)


def cost_headers(cpu_seconds: float) -> tuple[tuple[str, bytes], ...]:
    """Header with what an outcome took to make; none where nothing was made."""
    return ((CPU_HEADER, f"{cpu_seconds:.3f}".encode()),) if cpu_seconds > 0.0 else ()


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


def parse_event[M](record: IncomingRecord, read: Callable[[bytes], M], expected: str) -> M:
    """Validate a record's value.

    Parameters
    ----------
    read
        From the event's JSON to the event; raises `pydantic.ValidationError`. What producers
        put around it is taken off, see `residua.messaging.records.envelopes`.
    expected
        What it should be, for the error's message.

    Raises
    ------
    UnreadableRecordError
        The Kafka client could not decode it.
    UnsupportedVersionError
        It announces a schema version this release does not know.
    MalformedEventError
        It is no JSON, or not what the contract asks for.
    """
    value = record_value(record)
    try:
        return read_value(value, read)
    except ValidationError as e:
        raise _explain(record, value, e, expected) from e


def record_value(record: IncomingRecord) -> bytes:
    """Value of a record that has one of a size we read.

    Raises
    ------
    UnreadableRecordError
        The Kafka client could not decode it.
    MalformedEventError
        There is none, or it is larger than `MAX_EVENT_BYTES`.
    """
    reason = record.unreadable
    if reason is not None:
        raise UnreadableRecordError(
            f"{record.place} cannot be decoded by the Kafka client, {TRIES} times: {reason}; it "
            "is passed over. Another client may read it there; send it again"
        )
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
    return value


def _explain(
    record: IncomingRecord, value: bytes, error: ValidationError, expected: str
) -> ResiduaError:
    # Also what pydantic reads, Python's parser may refuse: too deep, too long a number.
    known = name_of_bytes(value)
    if known is not None:
        return MalformedEventError(f"{record.place} is {known}")
    try:
        body = json.loads(value.decode("utf-8-sig"))
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
            RecordHeader.model_construct(name=name, value=value)
            for name, value in record.headers
            if name is not UNREADABLE
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
