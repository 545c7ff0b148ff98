"""Start the bucket-notification adapter."""

import asyncio

from aiokafka import AIOKafkaProducer

from residua.extras import require
from residua.instruments import InstrumentRegistry
from residua.messaging.batches import BatchWriter
from residua.messaging.client import blocking_send
from residua.messaging.service import GroupMember, run_batches
from residua.metrics import Metrics
from residua.notifications.adapter import NotificationAdapter
from residua.notifications.settings import NotificationSettings
from residua.storage.headers import arrival_from_header
from residua.telemetry import configure_logging

__all__ = ["main", "run_notifications"]


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
            blocking_send(sender),
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
