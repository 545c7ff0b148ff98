"""Plain Kafka client tools on aiokafka: send events, read a topic to its end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, override

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaConnectionError

from residua.identity import event_id
from residua.inner_names import learn_of_topic
from residua.messaging.records.lenient import read_leniently
from residua.messaging.security import aiokafka_security
from residua.messaging.settings import KafkaSettings
from residua.telemetry.tracing import publishing, trace_headers
from residua_schemas import Event, cloudevents_headers

__all__ = [
    "MAX_DEAD_LETTER_BYTES",
    "METADATA_MAX_AGE_MS",
    "OutgoingRecord",
    "blocking_send",
    "client_options",
    "consumer",
    "event_record",
    "first_record_reader",
    "producer",
    "reaching",
    "read_to_end",
    "send",
    "topic_partitions",
    "traced_record",
]

_SEND_SECONDS = 600.0

METADATA_MAX_AGE_MS = 10_000
"""After this time a consumer knows of partitions that were added; the default is five minutes."""

MAX_DEAD_LETTER_BYTES = 3 * 1024 * 1024
"""A dead letter holds a record of up to 1 MiB (Kafka's default) in base64, and its headers."""


@dataclass(frozen=True)
class OutgoingRecord:
    """A record to be sent.

    Parameters
    ----------
    topic
        Full name of the topic, with prefix.
    value
        `None` is a tombstone.
    on_delivery
        Called by the worker's agent when the broker has it.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    on_delivery: Callable[[], None] | None = field(default=None, compare=False)


def event_record(
    topic: str, event: Event, key: bytes, *, source: str, time: datetime | None = None
) -> OutgoingRecord:
    """Record of an event: JSON body without absent fields, CloudEvents headers.

    Parameters
    ----------
    topic
        Full name of the topic.
    source
        URI reference of the producer, ``ce_source``.
    time
        When it happened, with an offset from UTC.
    """
    headers = cloudevents_headers(event, event_id=event_id(event, key), source=source, time=time)
    value = event.model_dump_json(exclude_none=True).encode()
    return OutgoingRecord(topic, key, value, tuple(headers))


def traced_record(
    topic: str, event: Event, key: bytes, *, source: str, time: datetime | None = None
) -> OutgoingRecord:
    """As `event_record`, with the headers of the trace under way, or of one that begins here."""
    record = event_record(topic, event, key, source=source, time=time)
    with publishing(topic):
        return replace(record, headers=(*record.headers, *trace_headers()))


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """Arguments every aiokafka client takes: where the brokers are, and the wire's security."""
    return {
        "bootstrap_servers": settings.kafka_bootstrap.split(","),
        **aiokafka_security(settings),
    }


@asynccontextmanager
async def reaching(settings: KafkaSettings) -> AsyncIterator[None]:
    """Start a client within: where no broker answers, the error alone says it, and what to do.

    Raises
    ------
    aiokafka.errors.KafkaConnectionError
        With the addresses that were tried, and what came of each.
    """
    tries, log = _Tries(), logging.getLogger("aiokafka")
    log.addFilter(tries)
    try:
        yield
    except KafkaConnectionError as e:
        why = "; ".join(_what_came(record) for record in tries.take())
        raise KafkaConnectionError(
            f"no broker answers at {settings.kafka_bootstrap}{f' ({why})' if why else ''}: start "
            "one, or give its address with --bootstrap or RESIDUA_KAFKA_BOOTSTRAP"
        ) from e
    finally:
        log.removeFilter(tries)
        # Another address answered, or something else went wrong.
        for record in tries.take():
            log.handle(record)


def _what_came(record: logging.LogRecord) -> str:
    text = record.getMessage().removeprefix("Unable connect to ")
    # A timeout has no words.
    return f"{text}no answer in time" if text.endswith(": ") else text


class _Tries(logging.Filter):
    """Holds what aiokafka says of each address in vain, until it is known if another answers.

    What is said in other tasks passes: they have tries of their own.
    """

    _WORDS = 'Unable connect to "%s:%s": %s'

    def __init__(self) -> None:
        super().__init__()
        self._task = asyncio.current_task()
        self._held: list[logging.LogRecord] = []

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if record.msg != self._WORDS or asyncio.current_task() is not self._task:
            return True
        self._held.append(record)
        return False

    def take(self) -> list[logging.LogRecord]:
        held, self._held = self._held, []
        return held


@asynccontextmanager
async def producer(settings: KafkaSettings) -> AsyncIterator[AIOKafkaProducer]:
    """Open a producer that waits for all replicas."""
    client = AIOKafkaProducer(
        **client_options(settings), acks="all", max_request_size=MAX_DEAD_LETTER_BYTES
    )
    try:
        async with reaching(settings):
            await client.start()
        yield client
    finally:
        # Also of one that never reached a broker: else aiokafka complains on stderr.
        await client.stop()


@asynccontextmanager
async def consumer(settings: KafkaSettings, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """Open a consumer: the one way in of every service and tool, but for faust's.

    It reads no record of an aborted transaction, passes records it cannot decode on with a mark
    (`residua.messaging.records.lenient`), begins at the start of a topic where nothing else is
    said, and commits nothing by itself.

    Parameters
    ----------
    options
        Further arguments of `aiokafka.AIOKafkaConsumer`.
    """
    read_leniently()
    client = AIOKafkaConsumer(
        **client_options(settings),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
        **options,
    )
    try:
        async with reaching(settings):
            await client.start()
        yield client
    finally:
        await client.stop()


def first_record_reader(settings: KafkaSettings) -> AbstractAsyncContextManager[AIOKafkaConsumer]:
    """Open a consumer for who wants the first record from an offset on, in no group.

    A fetch brings one batch of a partition. With a group, partitions that are assigned and given
    back at once end aiokafka's coordination while the broker of the group is not known.
    """
    # One byte is less than a record: a broker then sends the first batch whole, and no more.
    return consumer(settings, max_partition_fetch_bytes=1)


async def send(settings: KafkaSettings, records: Iterable[OutgoingRecord]) -> int:
    """Send records in order and wait for the broker's answer to each; returns their number."""
    async with producer(settings) as client:
        answers = [
            await client.send(r.topic, key=r.key, value=r.value, headers=list(r.headers))
            for r in records
        ]
        await asyncio.gather(*answers)
    return len(answers)


def blocking_send(client: AIOKafkaProducer) -> Callable[[Sequence[OutgoingRecord]], None]:
    """Return a function that sends records from a batch's thread; the client lives in the loop.

    It returns when the broker has them all.
    """
    loop = asyncio.get_running_loop()

    async def send_all(records: Sequence[OutgoingRecord]) -> None:
        answers = (
            client.send_and_wait(r.topic, key=r.key, value=r.value, headers=list(r.headers))
            for r in records
        )
        await asyncio.gather(*answers)

    def send(records: Sequence[OutgoingRecord]) -> None:
        asyncio.run_coroutine_threadsafe(send_all(records), loop).result(_SEND_SECONDS)

    return send


async def read_to_end(
    settings: KafkaSettings, topic: str, *, offsets: dict[int, int] | None = None
) -> AsyncIterator[ConsumerRecord]:
    """Read a topic from its start to what was its end when this was called.

    Parameters
    ----------
    topic
        Full name of the topic.
    offsets
        Where to start, by partition; elsewhere at the start.

    Yields
    ------
    record
        ``topic, partition, offset, timestamp, key, value, headers``; in order within a partition.
    """
    async with consumer(settings) as client:
        places = [TopicPartition(topic, p) for p in await topic_partitions(client, topic)]
        client.assign(places)
        ends = await client.end_offsets(places)
        begins = await client.beginning_offsets(places)
        for place in places:
            start = max(begins[place], (offsets or {}).get(place.partition, 0))
            client.seek(place, min(start, ends[place]))
        unread = {p for p in places if await client.position(p) < ends[p]}
        while unread:
            for place, records in (await client.getmany(*unread, timeout_ms=500)).items():
                for record in records:
                    if record.offset < ends[place]:
                        yield record
            unread = {p for p in unread if await client.position(p) < ends[p]}


async def topic_partitions(client: AIOKafkaConsumer, topic: str) -> list[int]:
    """Partitions of a topic, also one nobody subscribed to; empty when there is no such topic."""
    await learn_of_topic(client, topic)
    return sorted(client.partitions_for_topic(topic) or ())
