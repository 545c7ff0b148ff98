"""Start the catalog consumer: outcomes and template coadds to ObsCore rows."""

import asyncio
import signal
from collections.abc import Sequence

import structlog
from aiokafka import AIOKafkaConsumer
from sqlalchemy import Engine

from residua.catalog.database import open_database, write_batch
from residua.catalog.settings import CatalogSettings
from residua.errors import ResiduaError
from residua.kafka import client_options, create_topics, producer
from residua.kafka_batches import consume
from residua.kafka_events import IncomingRecord
from residua.telemetry import Metrics, configure_logging
from residua_schemas import DEAD_LETTERS, DIFFERENCE_IMAGES, TEMPLATE_COADDS

__all__ = ["main", "run_catalog"]


def main() -> None:
    """Run the consumer with settings from the environment."""
    run_catalog(CatalogSettings())


def run_catalog(settings: CatalogSettings) -> None:
    """Keep the catalog abreast of the events until SIGTERM.

    Raises
    ------
    sqlalchemy.exc.DBAPIError, aiokafka.errors.KafkaError
        A component does not answer; a new start takes up where this one stopped.
    """
    configure_logging(settings, "catalog")
    engine = open_database(settings.catalog_url)
    try:
        asyncio.run(_run(settings, engine))
    finally:
        engine.dispose()


async def _run(settings: CatalogSettings, engine: Engine) -> None:
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
    outcomes = settings.topic_name(DIFFERENCE_IMAGES)
    log = structlog.get_logger(__name__)

    def write(
        records: Sequence[IncomingRecord],
    ) -> Sequence[tuple[IncomingRecord, ResiduaError]]:
        result = write_batch(engine, records, outcomes, settings.site)
        metrics.rows_changed(result.changed)
        log.info("batch", records=len(records), changed=result.changed, refused=len(result.refused))
        return result.refused

    session_ms = round(settings.catalog_session_timeout * 1000)
    consumer = AIOKafkaConsumer(
        **client_options(settings),
        group_id=settings.catalog_group,
        group_instance_id=settings.catalog_instance_id,
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
            log.info("ready")
            await consume(
                consumer,
                sender,
                [outcomes, settings.topic_name(TEMPLATE_COADDS)],
                write,
                service="catalog",
                stop=stop,
                dead_letters=settings.topic_name(DEAD_LETTERS),
                batch_records=settings.batch_records,
                metrics=metrics,
                heartbeat=settings.heartbeat_file,
            )
    finally:
        await consumer.stop()
