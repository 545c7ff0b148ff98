"""The faust agent: takes a record, hands it over, publishes, waits, acknowledges, commits.

In this order, and then the next record: a killed worker repeats one record at most.

Acknowledgements out of order lose records in faust, so there is one agent and it holds one record
at a time; more processes make more throughput. An error while publishing is left to crash the
process: the record was not acknowledged and comes again.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import faust
from aiokafka.errors import MessageSizeTooLargeError
from faust.exceptions import ProducerSendError

from residua.errors import MalformedEventError
from residua.messaging.client import OutgoingRecord
from residua.messaging.records.events import APPEND_TIME, IncomingRecord
from residua.messaging.settings import KafkaSettings
from residua.metrics import Metrics
from residua.telemetry.tracing import span
from residua.worker.handler import ArrivalHandler
from residua.worker.membership import Membership
from residua.worker.watchdog import SignsOfLife
from residua_schemas import VISIT_ARRIVALS

__all__ = ["add_agent"]


def add_agent(
    app: faust.App,
    settings: KafkaSettings,
    handler: Awaitable[ArrivalHandler],
    signs: SignsOfLife,
    membership: Membership,
    note: Callable[[int, int], Awaitable[None]],
    metrics: Metrics,
) -> None:
    """Let the app handle visit arrivals.

    Parameters
    ----------
    handler
        Awaited once, when the app has started.
    signs
        Where the age of the arrival in hand is written.
    membership
        Told of each arrival that is taken.
    note
        Told of the partition and offset of each record before it is handled.
    """
    # Raw bytes: a decoding error inside a faust codec is acknowledged and kills the agent.
    arrivals = app.topic(
        settings.topic_name(VISIT_ARRIVALS), key_serializer="raw", value_serializer="raw"
    )

    @app.agent(arrivals, concurrency=1, name="visit-arrivals")
    async def handle_arrivals(stream: Any) -> None:
        handle = await handler
        async for event in stream.noack().events():
            taken = time.monotonic()
            signs.in_hand_since = taken
            membership.take()
            record = _incoming(event)
            signs.place = record.partition, record.offset
            await note(record.partition, record.offset)
            metrics.in_hand(1)
            with span(
                f"{record.topic} process", record.headers, kind="CONSUMER", said=_said(record)
            ):
                for outgoing in await handle(record):
                    try:
                        await _publish(app, outgoing)
                    except (ProducerSendError, MessageSizeTooLargeError) as e:
                        if not _too_large(e):
                            raise
                        error = MalformedEventError(f"{record.place} is too large to be copied")
                        await _publish(app, handle.without_value(record, error))
                await stream.ack(event)
                await _commit(app)
            signs.in_hand_since = signs.in_hand = signs.place = None
            signs.next_offsets[record.partition] = record.offset + 1
            signs.last_handled_ms = record.timestamp_ms
            metrics.in_hand(0)
            metrics.handled(taken=taken, timestamp_ms=record.timestamp_ms)


async def _publish(app: faust.App, outgoing: OutgoingRecord) -> None:
    topic = app.topic(outgoing.topic, key_serializer="raw", value_serializer="raw")
    publish: Awaitable[Awaitable[object]] = topic.send(
        key=outgoing.key, value=outgoing.value, headers=list(outgoing.headers)
    )
    # The first await hands the record to the producer, the second waits for the broker's answer.
    await (await publish)
    if outgoing.on_delivery is not None:
        outgoing.on_delivery()


async def _commit(app: faust.App) -> None:
    # faust would do it when it reads again, or once a second: until then a killed worker would
    # repeat all that it has done. False: another commit was under way, perhaps without this one.
    if not await app.consumer.commit():
        await app.consumer.commit()


def _incoming(event: Any) -> IncomingRecord:
    message = event.message
    return IncomingRecord(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        key=message.key,
        value=message.value,
        timestamp_ms=round(message.timestamp * 1000.0),
        headers=tuple(message.headers or ()),
        is_append_time=message.timestamp_type == APPEND_TIME,
    )


def _said(record: IncomingRecord) -> dict[str, str | int]:
    """Names as OpenTelemetry's conventions for messaging have them."""
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": record.topic,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
    }


def _too_large(error: Exception) -> bool:
    return "MessageSizeTooLarge" in f"{type(error).__name__} {error!r} {error.__cause__!r}"
