"""Start the Butler registrar: outcomes and template coadds to a Butler repository."""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from importlib import import_module

import structlog
from aiokafka import AIOKafkaConsumer
from lsst.daf.butler import Butler

from residua.butler.records import register_records
from residua.butler.registrar import Registrar
from residua.butler.repository import open_repository, register_dataset_types
from residua.butler.settings import ButlerSettings
from residua.errors import ResiduaError, TransientError
from residua.instruments import InstrumentRegistry
from residua.kafka import client_options, create_topics, producer
from residua.kafka_batches import BatchWriter, consume
from residua.kafka_events import IncomingRecord
from residua.telemetry import Metrics, configure_logging
from residua_schemas import DEAD_LETTERS, DIFFERENCE_IMAGES, TEMPLATE_COADDS

__all__ = ["batch_writer", "main", "run_butler"]

# Seconds before each further try of a batch when the database or the store is away.
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def main() -> None:
    """Run the registrar with settings from the environment."""
    run_butler(ButlerSettings())


def run_butler(settings: ButlerSettings) -> None:
    """Keep the repository abreast of the events until SIGTERM.

    Raises
    ------
    residua.butler.repository.RepositoryError
        There is no repository, or it defines a dataset type otherwise.
    residua.errors.TransientError, aiokafka.errors.KafkaError
        A component does not answer; a new start takes up where this one stopped.
    """
    configure_logging(settings, "butler")
    # Butler asks for it at the first batch, where the seconds of its import would be in the way.
    import_module("lsst.images.formatters")
    with open_repository(settings.butler_repo, writeable=True) as butler:
        register_dataset_types(butler)
        asyncio.run(_run(settings, butler))


def batch_writer(
    registrar: Registrar,
    topic_of_outcomes: str,
    metrics: Metrics,
    pause: Callable[[float], None] = time.sleep,
) -> BatchWriter:
    """Return the function that registers a batch, and waits out short outages."""
    log = structlog.get_logger(__name__)

    def write(
        records: Sequence[IncomingRecord],
    ) -> Sequence[tuple[IncomingRecord, ResiduaError]]:
        for seconds in (*_PAUSES, None):
            try:
                refused = register_records(registrar, records, topic_of_outcomes)
            except TransientError as e:
                if seconds is None:
                    raise
                log.warning("butler_away", error=str(e), pause=seconds)
                metrics.retry("butler")
                pause(seconds)
            else:
                log.info("batch", records=len(records), refused=len(refused))
                return refused
        raise AssertionError("unreachable")

    return write


async def _run(settings: ButlerSettings, butler: Butler) -> None:
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
    registrar = Registrar(
        butler,
        instruments=InstrumentRegistry(settings.instrument_directories),
        output_root=settings.output_root,
        template_roots=settings.template_roots,
        collection=settings.butler_collection,
        attempts=settings.butler_attempts,
    )
    session_ms = round(settings.butler_session_timeout * 1000)
    consumer = AIOKafkaConsumer(
        **client_options(settings),
        group_id=settings.butler_group,
        group_instance_id=settings.butler_instance_id,
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
            structlog.get_logger(__name__).info("ready", repository=settings.butler_repo)
            await consume(
                consumer,
                sender,
                [outcomes, settings.topic_name(TEMPLATE_COADDS)],
                batch_writer(registrar, outcomes, metrics),
                service="butler",
                stop=stop,
                dead_letters=settings.topic_name(DEAD_LETTERS),
                batch_records=settings.butler_batch_records,
                metrics=metrics,
                heartbeat=settings.heartbeat_file,
            )
    finally:
        await consumer.stop()
