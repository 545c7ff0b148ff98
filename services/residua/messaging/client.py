"""Plain Kafka client tools on aiokafka: make topics, send events, read a topic to its end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from residua.identity import event_id
from residua.inner_names import has_controller, learn_of_topic
from residua.messaging.records.lenient import read_leniently
from residua.messaging.security import aiokafka_security
from residua.messaging.settings import KafkaSettings
from residua.telemetry.tracing import publishing, trace_headers
from residua_schemas import DEAD_LETTERS, TOPICS, Event, Topic, cloudevents_headers

__all__ = [
    "MAX_DEAD_LETTER_BYTES",
    "METADATA_MAX_AGE_MS",
    "OutgoingRecord",
    "blocking_send",
    "client_options",
    "consumer",
    "create_topics",
    "event_record",
    "producer",
    "read_to_end",
    "send",
    "topic_partitions",
    "traced_record",
]

_SEND_SECONDS = 600.0
_STAMPS = "message.timestamp.type"
_SET_FOR_THE_TOPIC = 1
_log = structlog.get_logger(__name__)

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


async def create_topics(
    settings: KafkaSettings,
    *,
    partitions: int = 32,
    replication: int = 1,
    topics: Sequence[Topic] = TOPICS,
) -> None:
    """Create the topics that are missing; those that are there stay as they are.

    But for one thing: the order of arrivals is that of the broker's stamps, so that topics of
    releases before 1.3 are told to stamp. A broker that refuses it is named in a warning.

    Raises
    ------
    aiokafka.errors.KafkaError
        The broker refused one, or cannot be reached.
    """
    wanted = [
        NewTopic(
            settings.topic_name(topic),
            num_partitions=partitions,
            replication_factor=replication,
            topic_configs=_topic_config(topic),
        )
        for topic in topics
    ]
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        await admin.start()
        if not has_controller(admin):
            # The embedded broker: it makes a topic when somebody asks for it.
            await admin.describe_topics([topic.name for topic in wanted])
            return
        response = await admin.create_topics(wanted)
        there = {
            n for n, code, *_ in response.topic_errors if code == TopicAlreadyExistsError.errno
        }
        for topic in topics:
            name = settings.topic_name(topic)
            if topic.append_time and name in there:
                await _let_stamp(admin, name)
    finally:
        await admin.close()
    # The client does not raise what the broker answered for each topic.
    for name, code, *details in response.topic_errors:
        if code not in {0, TopicAlreadyExistsError.errno}:
            raise for_code(code)(f"topic {name}: {details}")


async def _let_stamp(admin: AIOKafkaAdminClient, name: str) -> None:
    """Set ``message.timestamp.type`` of a topic to ``LogAppendTime``, if it is not."""
    try:
        [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
        [(code, message, _, _, entries)] = answer.resources
        if code:
            raise for_code(code)(message)
        if any(entry[:2] == (_STAMPS, "LogAppendTime") for entry in entries):
            return
        # This request replaces all that was set for the topic: what was goes with it.
        own = {entry[0]: entry[1] for entry in entries if entry[3] == _SET_FOR_THE_TOPIC}
        changed = ConfigResource(ConfigResourceType.TOPIC, name, {**own, _STAMPS: "LogAppendTime"})
        [answer] = await admin.alter_configs([changed])
        [(code, message, *_)] = answer.resources
        if code:
            raise for_code(code)(message)
    except KafkaError as e:
        _log.warning(
            "arrivals_not_stamped",
            topic=name,
            reason=f"{type(e).__name__}: {e}",
            remedy=f"set {_STAMPS}=LogAppendTime, to order arrivals of different partitions",
        )
    else:
        _log.info("arrivals_stamped_from_now", topic=name)


def _topic_config(topic: Topic) -> dict[str, str]:
    if topic == DEAD_LETTERS:
        return {**topic.config, "max.message.bytes": str(MAX_DEAD_LETTER_BYTES)}
    return topic.config


@asynccontextmanager
async def producer(settings: KafkaSettings) -> AsyncIterator[AIOKafkaProducer]:
    """Open a producer that waits for all replicas."""
    client = AIOKafkaProducer(
        **client_options(settings), acks="all", max_request_size=MAX_DEAD_LETTER_BYTES
    )
    try:
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
        await client.start()
        yield client
    finally:
        await client.stop()


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
