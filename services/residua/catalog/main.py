"""Start the catalog consumer: outcomes and template coadds to ObsCore rows."""

import asyncio
from collections.abc import Sequence

import structlog
from sqlalchemy import Engine

from residua.catalog.settings import CatalogSettings
from residua.catalog.writing.detection_rows import detection_reader
from residua.catalog.writing.transaction import open_database, write_batch
from residua.errors import ResiduaError
from residua.messaging.batches import BatchWriter
from residua.messaging.records.events import IncomingRecord
from residua.messaging.service import GroupMember, run_batches
from residua.metrics import Metrics
from residua.telemetry import configure_logging
from residua_schemas import DIFFERENCE_IMAGES, TEMPLATE_COADDS

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
    outcomes = settings.topic_name(DIFFERENCE_IMAGES)
    engine = open_database(settings.catalog_url)
    try:
        asyncio.run(
            run_batches(
                settings,
                GroupMember(
                    settings.catalog_group,
                    settings.catalog_instance_id,
                    settings.catalog_session_timeout,
                ),
                [outcomes, settings.topic_name(TEMPLATE_COADDS)],
                lambda _sender, metrics: _writer(settings, engine, outcomes, metrics),
                service="catalog",
                batch_records=settings.batch_records,
            )
        )
    finally:
        engine.dispose()


def _writer(
    settings: CatalogSettings, engine: Engine, outcomes: str, metrics: Metrics
) -> BatchWriter:
    log = structlog.get_logger(__name__)
    roots = settings.detection_roots
    if not roots:
        log.warning("detections_not_loaded", reason="RESIDUA_DETECTION_ROOTS is not set")
    read = detection_reader(roots) if roots else None

    def write(
        records: Sequence[IncomingRecord],
    ) -> Sequence[tuple[IncomingRecord, ResiduaError]]:
        result = write_batch(engine, records, outcomes, settings.site, read)
        metrics.rows_changed(result.changed)
        log.info("batch", records=len(records), changed=result.changed, refused=len(result.refused))
        return result.refused

    return write
