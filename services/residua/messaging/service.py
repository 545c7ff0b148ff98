"""What every service of batches does around its loop: signals, topics, clients."""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from residua.messaging.batches import BatchWriter, consume
from residua.messaging.client import consumer, producer
from residua.messaging.group import watch_group
from residua.messaging.heartbeats import instance_name, send_heartbeats
from residua.messaging.making_topics import create_topics
from residua.messaging.settings import ConsumerSettings
from residua.messaging.surroundings import show_surroundings
from residua.metrics import Metrics
from residua.metrics.health import Health
from residua.telemetry.tracing import configure_tracing
from residua_schemas import DEAD_LETTERS

__all__ = ["GroupMember", "MakeWriter", "run_batches"]

type MakeWriter = Callable[[AIOKafkaProducer, Metrics], BatchWriter]
"""Makes the function that writes a batch; called in the running loop."""


@dataclass(frozen=True)
class GroupMember:
    """As whom a service reads.

    Parameters
    ----------
    group
        Kafka consumer group.
    instance_id
        Static membership; `None` for a member without a name.
    session_timeout
        Seconds of silence after which the group goes on without it.
    """

    group: str
    instance_id: str | None
    session_timeout: float


async def run_batches(
    settings: ConsumerSettings,
    member: GroupMember,
    topics: Sequence[str],
    make_writer: MakeWriter,
    *,
    service: str,
    batch_records: int,
    beside: Sequence[str] = (),
    places: Mapping[str, str] | None = None,
) -> None:
    """Consume until SIGTERM, with the guarantee of `residua.messaging.batches.consume`.

    Parameters
    ----------
    topics
        Full names.
    service
        Name of the service, in its dead letters.
    batch_records
        Most records of one batch.
    beside
        Full names of topics that are read as well, and are another service's to keep up with.
    places
        Local directories whose disks are watched, by their label.

    Raises
    ------
    aiokafka.errors.KafkaError
        The broker does not answer.
    residua.messaging.group.FencedError
        Another process has the same instance id.
    Exception
        What the writer raised. A new start takes up where this one stopped.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics(Health(settings.heartbeat_file))
    metrics.expect(topics)
    metrics.serve(settings, service)
    configure_tracing(settings, service)
    if settings.create_topics:
        await create_topics(
            settings,
            partitions=settings.topic_partitions,
            replication=settings.topic_replication,
        )
    session_ms = round(member.session_timeout * 1000)
    async with (
        consumer(
            settings,
            group_id=member.group,
            group_instance_id=member.instance_id,
            max_poll_interval_ms=600_000,
            rebalance_timeout_ms=60_000,
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=min(3000, session_ms // 3),
        ) as client,
        producer(settings) as sender,
    ):
        write = make_writer(sender, metrics)
        structlog.get_logger(__name__).info("ready", topics=list(topics))
        metrics.health.become_ready()
        work = consume(
            client,
            sender,
            topics,
            write,
            service=service,
            stop=stop,
            dead_letters=settings.topic_name(DEAD_LETTERS),
            batch_records=batch_records,
            metrics=metrics,
            group=member.group,
            beside=beside,
        )
        looking = asyncio.ensure_future(show_surroundings(settings, topics, places or {}, metrics))
        try:
            await _unless_fenced(
                work, settings, member, client, [*topics, *beside], service, metrics
            )
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)


async def _unless_fenced(
    work: Coroutine[object, object, None],
    settings: ConsumerSettings,
    member: GroupMember,
    client: AIOKafkaConsumer,
    topics: Sequence[str],
    service: str,
    metrics: Metrics,
) -> None:
    instance = instance_name(member.instance_id)
    beating = asyncio.ensure_future(send_heartbeats(settings, service, instance, metrics))
    tasks = {asyncio.ensure_future(work)}
    if member.instance_id is not None:
        tasks.add(
            asyncio.ensure_future(
                watch_group(settings, member.group, member.instance_id, client, topics)
            )
        )
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in (*pending, beating):
        task.cancel()
    await asyncio.gather(*pending, beating, return_exceptions=True)
    for task in done:
        task.result()
