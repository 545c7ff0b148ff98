"""Heartbeats: each process says on a topic that it lives, so that quiet and dead differ."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from residua import __version__
from residua.messaging.client import consumer, event_record, producer, topic_partitions
from residua.messaging.settings import ConsumerSettings, KafkaSettings
from residua.metrics import Metrics
from residua_schemas import HEARTBEATS, Heartbeat, VisitDetector

__all__ = ["instance_name", "read_heartbeats", "send_heartbeats"]

_LONGEST_PAUSE = 60.0
_MOST_READ = 500
"""Newest records of a partition that tell who lives: some ten minutes of it, with 200 workers."""


def instance_name(instance_id: str | None) -> str:
    """Name of this process: its static name in the group, else host and process id."""
    return (instance_id or f"{socket.gethostname()}-{os.getpid()}")[:128]


async def send_heartbeats(
    settings: ConsumerSettings,
    service: str,
    instance: str,
    metrics: Metrics,
    *,
    run: str | None = None,
    in_hand: Callable[[], VisitDetector | None] = lambda: None,
) -> None:
    """Send one every so many seconds until cancelled, while the service's work goes on.

    A service whose loop stands still sends none. Brokers that are away are logged: that no
    heartbeat gets through is what is to be seen, and no reason to end.

    Parameters
    ----------
    instance
        See `instance_name`.
    metrics
        Whose health is asked, and where the last one is shown.
    run
        Run of a worker.
    in_hand
        What a worker has in hand now.
    """
    log = structlog.get_logger(__name__)
    topic = settings.topic_name(HEARTBEATS)
    started = datetime.now(UTC)
    pause = settings.heartbeat_seconds
    while True:
        try:
            async with producer(settings) as client:
                while True:
                    if metrics.health.live()[0]:
                        event = Heartbeat(
                            service=service,
                            instance=instance,
                            version=__version__,
                            run=run,
                            sent=datetime.now(UTC),
                            started=started,
                            interval=settings.heartbeat_seconds,
                            handled=metrics.records_handled,
                            in_hand=in_hand(),
                        )
                        record = event_record(topic, event, event.key, source=f"/residua/{service}")
                        await client.send_and_wait(
                            topic, key=record.key, value=record.value, headers=list(record.headers)
                        )
                        metrics.heartbeat_taken()
                        pause = settings.heartbeat_seconds
                    await asyncio.sleep(settings.heartbeat_seconds)
        except (KafkaError, OSError) as e:
            metrics.retry("broker")
            log.warning("heartbeat_not_taken", topic=topic, error=repr(e)[:200], pause=pause)
        await asyncio.sleep(pause)
        pause = min(2.0 * pause, max(_LONGEST_PAUSE, settings.heartbeat_seconds))


async def read_heartbeats(settings: KafkaSettings) -> list[Heartbeat]:
    """Return the newest heartbeat of each process that sent one lately, by service and instance.

    However long the topic is, a bounded number of its newest records is read.
    """
    newest: dict[bytes, Heartbeat] = {}
    async with consumer(settings) as client:
        topic = settings.topic_name(HEARTBEATS)
        places = [TopicPartition(topic, p) for p in await topic_partitions(client, topic)]
        if not places:
            return []
        client.assign(places)
        begins, ends = await client.beginning_offsets(places), await client.end_offsets(places)
        for place in places:
            client.seek(place, max(begins[place], ends[place] - _MOST_READ))
        unread = {p for p in places if await client.position(p) < ends[p]}
        while unread:
            found = await client.getmany(*unread, timeout_ms=500)
            for event in _read(r.value for records in found.values() for r in records):
                held = newest.get(event.key)
                if held is None or held.sent <= event.sent:
                    newest[event.key] = event
            unread = {p for p in unread if await client.position(p) < ends[p]}
    return [newest[key] for key in sorted(newest)]


def _read(values: Iterable[bytes | None]) -> Iterable[Heartbeat]:
    for value in values:
        try:
            yield Heartbeat.model_validate_json(value or b"")
        except ValidationError:
            continue
