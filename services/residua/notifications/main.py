"""Start the bucket-notification adapter."""

import asyncio
import signal
from collections.abc import Sequence

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from residua.instruments import InstrumentRegistry
from residua.kafka import OutgoingRecord, client_options, create_topics, producer
from residua.kafka_batches import consume
from residua.notifications.adapter import NotificationAdapter
from residua.notifications.headers import arrival_from_header
from residua.notifications.settings import NotificationSettings
from residua.telemetry import Metrics, configure_logging
from residua_schemas import DEAD_LETTERS

__all__ = ["main", "run_notifications"]

_SEND_SECONDS = 600.0


def main() -> None:
    """Run the adapter with settings from the environment."""
    run_notifications(NotificationSettings())


def run_notifications(settings: NotificationSettings) -> None:
    """Announce new objects until SIGTERM.

    Raises
    ------
    residua.errors.TransientError, aiokafka.errors.KafkaError
        A component does not answer; a new start takes up where this one stopped.
    """
    configure_logging(settings, "notifications")
    asyncio.run(_run(settings))


async def _run(settings: NotificationSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics()
    metrics.serve(settings.metrics_port)
    if settings.create_topics:
        await create_topics(
            settings,
            partitions=settings.topic_partitions,
            replication=settings.topic_replication,
        )
    instruments = InstrumentRegistry()
    session_ms = round(settings.notification_session_timeout * 1000)
    consumer = AIOKafkaConsumer(
        **client_options(settings),
        group_id=settings.notification_group,
        group_instance_id=settings.notification_instance_id,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_poll_interval_ms=600_000,
        rebalance_timeout_ms=60_000,
        session_timeout_ms=session_ms,
        heartbeat_interval_ms=min(3000, session_ms // 3),
    )
    await consumer.start()
    try:
        async with producer(settings) as sender:

            def send(records: Sequence[OutgoingRecord]) -> None:
                # Called from the batch's thread; the client lives in the loop.
                sending = asyncio.run_coroutine_threadsafe(_send(sender, records), loop)
                sending.result(_SEND_SECONDS)

            adapter = NotificationAdapter(
                settings,
                lambda location, known: arrival_from_header(location, known, instruments),
                send,
                metrics,
            )
            structlog.get_logger(__name__).info("ready", topic=settings.notification_topic)
            await consume(
                consumer,
                sender,
                [settings.notification_topic],
                adapter,
                service="notifications",
                stop=stop,
                dead_letters=settings.topic_name(DEAD_LETTERS),
                batch_records=settings.notification_batch,
                metrics=metrics,
                heartbeat=settings.heartbeat_file,
            )
    finally:
        await consumer.stop()


async def _send(sender: AIOKafkaProducer, records: Sequence[OutgoingRecord]) -> None:
    await asyncio.gather(
        *(
            sender.send_and_wait(r.topic, key=r.key, value=r.value, headers=list(r.headers))
            for r in records
        )
    )
