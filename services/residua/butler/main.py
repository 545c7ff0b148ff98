"""Start the Butler registrar: outcomes and template coadds to a Butler repository."""

import asyncio
import time
from collections.abc import Callable, Sequence
from importlib import import_module

import structlog

from residua.butler.registering.kafka_records import register_records
from residua.butler.registering.registrar import Registrar
from residua.butler.repository import open_repository, register_dataset_types
from residua.butler.settings import ButlerSettings
from residua.errors import ResiduaError, TransientError
from residua.instruments import InstrumentRegistry
from residua.messaging.batches import BatchWriter
from residua.messaging.records.events import IncomingRecord
from residua.messaging.service import GroupMember, run_batches
from residua.metrics import Metrics
from residua.telemetry import configure_logging
from residua_schemas import DIFFERENCE_IMAGES, TEMPLATE_COADDS

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
    outcomes = settings.topic_name(DIFFERENCE_IMAGES)
    with open_repository(settings.butler_repo, writeable=True) as butler:
        register_dataset_types(butler)
        registrar = Registrar(
            butler,
            instruments=InstrumentRegistry(settings.instrument_directories),
            output_root=settings.output_root,
            template_roots=settings.template_roots,
            visit_roots=settings.input_roots,
            collection=settings.butler_collection,
            attempts=settings.butler_attempts,
        )
        asyncio.run(
            run_batches(
                settings,
                GroupMember(
                    settings.butler_group,
                    settings.butler_instance_id,
                    settings.butler_session_timeout,
                ),
                [outcomes, settings.topic_name(TEMPLATE_COADDS)],
                lambda _sender, metrics: batch_writer(registrar, outcomes, metrics),
                service="butler",
                batch_records=settings.butler_batch_records,
            )
        )


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
