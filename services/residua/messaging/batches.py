"""The loop of services that write batches: take one, write it once, then commit offsets."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import override

import structlog
from aiokafka import (
    AIOKafkaConsumer,
    AIOKafkaProducer,
    ConsumerRebalanceListener,
    ConsumerRecord,
    TopicPartition,
)
from aiokafka.errors import CommitFailedError, IllegalStateError, MessageSizeTooLargeError

from residua.errors import ResiduaError
from residua.messaging.client import OutgoingRecord, event_record
from residua.messaging.records.events import (
    REPLAY_HEADER,
    IncomingRecord,
    dead_letter,
    incoming,
)
from residua.messaging.refusals import note_refusal
from residua.messaging.retention import LostRecords, Offsets
from residua.metrics import Metrics
from residua.telemetry.tracing import record_batch
from residua_schemas import DifferenceImageCreated

__all__ = ["BatchWriter", "bury", "consume"]

type BatchWriter = Callable[
    [Sequence[IncomingRecord]], Sequence[tuple[IncomingRecord, ResiduaError]]
]
"""Writes a batch in one transaction and returns the records it cannot use; blocking."""


_OUTCOME = DifferenceImageCreated.ce_type.encode()


class _WaitForBatch(ConsumerRebalanceListener):
    """Lets the batch in hand be written and committed before its partitions are given away."""

    def __init__(self, busy: asyncio.Lock) -> None:
        self._busy = busy

    @override
    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        async with self._busy:
            pass

    @override
    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        pass


async def consume(
    consumer: AIOKafkaConsumer,
    producer: AIOKafkaProducer,
    topics: Sequence[str],
    write: BatchWriter,
    *,
    service: str,
    stop: asyncio.Event,
    dead_letters: str,
    batch_records: int,
    metrics: Metrics,
    group: str = "",
    beside: Sequence[str] = (),
) -> None:
    """Consume until ``stop``; each record is written at least once, and writing twice is a no-op.

    What is written is committed and refused records are in the dead letters before offsets are
    committed. An error of the writer is raised: the next start takes the batch up again.

    Parameters
    ----------
    service
        Name of the service, in its dead letters and their ``ce_source``.
    topics, dead_letters
        Full names of topics.
    group
        Name of the consumer's group, for the log.
    beside
        Full names of topics that are read as well: what is lost or waits there is counted where
        they are somebody's work.
    """
    busy = asyncio.Lock()
    last_handled: dict[str, int] = {}
    lost = {t: LostRecords(t, group, _offsets(consumer, t), metrics) for t in topics}
    consumer.subscribe([*topics, *beside], listener=_WaitForBatch(busy))
    while not stop.is_set():
        # Not under the lock: in a rebalance this waits for the listener, which waits for the lock.
        batch = await _unless(stop, consumer.getmany(timeout_ms=200, max_records=batch_records))
        if batch:
            async with busy:
                for place, found in batch.items():
                    if place.topic in beside:
                        continue
                    await lost[place.topic].note(place.partition, found[0].offset)
                    lost[place.topic].passed(place.partition, found[-1].offset)
                records = [incoming(r) for rs in batch.values() for r in rs]
                begun = time.monotonic()
                refused = await asyncio.to_thread(write, records)
                writing = time.monotonic() - begun
                await bury(producer, dead_letters, refused, metrics, service)
                try:
                    await consumer.commit({p: rs[-1].offset + 1 for p, rs in batch.items()})
                except (CommitFailedError, IllegalStateError):
                    # The partitions went to another member. The rows are in; they come again
                    # there, and change nothing.
                    structlog.get_logger(__name__).info("commit_refused", records=len(records))
                metrics.batch([r.timestamp_ms for r in records], writing)
                metrics.arrivals_in(filter(None, map(_arrived, records)))
                why = {r.place: e.message for r, e in refused}
                record_batch(
                    service, [(r.topic, r.headers, why.get(r.place)) for r in records], writing
                )
        metrics.beat()
        await _show_backlog(consumer, batch or {}, last_handled, metrics, beside)
        await asyncio.sleep(0)


def _arrived(record: IncomingRecord) -> datetime | None:
    """When the arrival came whose outcome this is; `None` of a replay, and of what is none."""
    known = dict(record.headers)
    if REPLAY_HEADER in known or known.get("ce_type") != _OUTCOME:
        return None
    try:
        # An outcome's time is that of its arrival's record.
        found = datetime.fromisoformat((known.get("ce_time") or b"").decode())
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


async def _show_backlog(
    consumer: AIOKafkaConsumer,
    batch: dict[TopicPartition, list[ConsumerRecord]],
    last_handled: dict[str, int],
    metrics: Metrics,
    beside: Sequence[str],
) -> None:
    # What the last fetch said, without asking the broker: each batch costs nothing more.
    for place, records in batch.items():
        last_handled[place.topic] = records[-1].timestamp
    waiting: dict[str, int] = {}
    for place in consumer.assignment():
        if place.topic in beside:
            continue
        end = consumer.highwater(place)
        if end is not None:
            unread = max(0, end - await consumer.position(place))
            waiting[place.topic] = waiting.get(place.topic, 0) + unread
    for topic, records_waiting in waiting.items():
        metrics.backlog(topic, records_waiting, last_handled.get(topic))


def _offsets(consumer: AIOKafkaConsumer, topic: str) -> Offsets:
    async def ask(partition: int) -> tuple[int | None, int]:
        place = TopicPartition(topic, partition)
        first = (await consumer.beginning_offsets([place]))[place]
        return await consumer.committed(place), first

    return ask


async def _unless[T](stop: asyncio.Event, waiting: Coroutine[object, object, T]) -> T | None:
    # Without an assignment (a broker that is away) the client waits without limit.
    work, end = asyncio.ensure_future(waiting), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({work, end}, return_when=asyncio.FIRST_COMPLETED)
        return work.result() if work.done() else None
    finally:
        work.cancel()
        end.cancel()


async def bury(
    producer: AIOKafkaProducer,
    topic: str,
    refused: Sequence[tuple[IncomingRecord, ResiduaError]],
    metrics: Metrics,
    service: str,
) -> None:
    """Send records to the dead letters, and return when the broker has them.

    Parameters
    ----------
    topic
        Full name of the dead letters' topic.
    service
        Name of the service that could not use them.
    """
    for record, error in refused:
        note_refusal(record.topic, error, metrics)
        try:
            await _send(producer, _letter(topic, record, error, service, whole=True))
        except MessageSizeTooLargeError:
            await _send(producer, _letter(topic, record, error, service, whole=False))


async def _send(producer: AIOKafkaProducer, outgoing: OutgoingRecord) -> None:
    await producer.send_and_wait(
        outgoing.topic, key=outgoing.key, value=outgoing.value, headers=list(outgoing.headers)
    )


def _letter(
    topic: str, record: IncomingRecord, error: ResiduaError, service: str, *, whole: bool
) -> OutgoingRecord:
    letter = dead_letter(record, error, service=service, whole=whole)
    return event_record(
        topic, letter, letter.record_key, source=f"/residua/{service}", time=record.time
    )
