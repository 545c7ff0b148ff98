"""Start the bucket-notification adapter."""

import asyncio
from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaProducer

from residua.extras import require
from residua.instruments import InstrumentRegistry
from residua.messaging.batches import BatchWriter
from residua.messaging.client import OutgoingRecord
from residua.messaging.service import GroupMember, run_batches
from residua.notifications.adapter import NotificationAdapter
from residua.notifications.settings import NotificationSettings
from residua.storage.headers import arrival_from_header
from residua.telemetry import Metrics, configure_logging

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
    require("s3", "the adapter of bucket notifications")
    configure_logging(settings, "notifications")
    instruments = InstrumentRegistry(settings.instrument_directories)

    def adapter(sender: AIOKafkaProducer, metrics: Metrics) -> BatchWriter:
        return NotificationAdapter(
            settings,
            lambda location, known: arrival_from_header(location, known, instruments),
            _blocking(sender),
            metrics,
        )

    asyncio.run(
        run_batches(
            settings,
            GroupMember(
                settings.notification_group,
                settings.notification_instance_id,
                settings.notification_session_timeout,
            ),
            [settings.notification_topic],
            adapter,
            service="notifications",
            batch_records=settings.notification_batch,
        )
    )


def _blocking(sender: AIOKafkaProducer) -> Callable[[Sequence[OutgoingRecord]], None]:
    loop = asyncio.get_running_loop()

    def send(records: Sequence[OutgoingRecord]) -> None:
        # Called from the batch's thread; the client lives in the loop.
        asyncio.run_coroutine_threadsafe(_send(sender, records), loop).result(_SEND_SECONDS)

    return send


async def _send(sender: AIOKafkaProducer, records: Sequence[OutgoingRecord]) -> None:
    await asyncio.gather(
        *(
            sender.send_and_wait(r.topic, key=r.key, value=r.value, headers=list(r.headers))
            for r in records
        )
    )
