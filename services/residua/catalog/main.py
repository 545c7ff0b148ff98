"""Start the catalog consumer: outcomes and template coadds to ObsCore rows."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog
from aiokafka import AIOKafkaProducer
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from residua.catalog.night_accounts import close_nights
from residua.catalog.settings import CatalogSettings
from residua.catalog.writing.detection_rows import detection_reader
from residua.catalog.writing.transaction import open_database, write_batch
from residua.errors import ResiduaError
from residua.messaging.batches import BatchWriter
from residua.messaging.client import OutgoingRecord, blocking_send
from residua.messaging.records.events import IncomingRecord
from residua.messaging.service import GroupMember, run_batches
from residua.metrics import Metrics
from residua.telemetry import configure_logging
from residua_schemas import DIFFERENCE_IMAGES, NIGHT_SUMMARIES, TEMPLATE_COADDS

__all__ = ["main", "run_catalog"]

_LOOK_SECONDS = 20.0
_QUIET_SECONDS = 60.0
# Where nothing was written since the last look, time alone can end a night: a look goes through
# what was planned in thirty of them.
_IDLE_SECONDS = 600.0
# The loop itself holds tasks by weak references only.
_running: list[asyncio.Future[None]] = []


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
                lambda sender, metrics: _writer(settings, engine, outcomes, metrics, sender),
                service="catalog",
                batch_records=settings.batch_records,
                beside=(settings.plan_topics.arrivals, settings.plan_topics.next_visits),
                places=_places(settings.catalog_url),
            )
        )
    finally:
        engine.dispose()


def _places(url: str) -> dict[str, str]:
    """Where the database is a file, its directory: a full disk stops it."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return {}
    return {"catalog": str(Path(parsed.database).absolute().parent)}


def _writer(
    settings: CatalogSettings,
    engine: Engine,
    outcomes: str,
    metrics: Metrics,
    sender: AIOKafkaProducer,
) -> BatchWriter:
    log = structlog.get_logger(__name__)
    roots = settings.detection_roots
    if not roots:
        log.warning("detections_not_loaded", reason="RESIDUA_DETECTION_ROOTS is not set")
    read = detection_reader(roots) if roots else None
    nights = _Nights(settings, engine, blocking_send(sender))
    _running.append(asyncio.ensure_future(nights.follow()))

    def write(
        records: Sequence[IncomingRecord],
    ) -> Sequence[tuple[IncomingRecord, ResiduaError]]:
        result = write_batch(engine, records, outcomes, settings.site, read, settings.plan_topics)
        nights.written()
        metrics.rows_changed(result.changed)
        log.info("batch", records=len(records), changed=result.changed, refused=len(result.refused))
        return result.refused

    return write


class _Nights:
    """Closes nights that are over, when all that has happened in them is in the catalog."""

    def __init__(
        self,
        settings: CatalogSettings,
        engine: Engine,
        send: Callable[[Sequence[OutgoingRecord]], None],
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._send = send
        self._last = time.monotonic()
        self._looked = -_IDLE_SECONDS

    def written(self) -> None:
        """Note that a batch was written: there may be more."""
        self._last = time.monotonic()

    async def follow(self) -> None:
        """Look every now and then until cancelled; a failure is logged, and tried again."""
        log = structlog.get_logger(__name__)
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            if now - self._last < _QUIET_SECONDS:
                continue
            if self._looked > self._last and now - self._looked < _IDLE_SECONDS:
                continue
            try:
                sent = await asyncio.to_thread(
                    close_nights,
                    self._engine,
                    self._send,
                    self._settings.topic_name(NIGHT_SUMMARIES),
                    datetime.now(UTC),
                    self._settings.night_summary_hours,
                )
            except Exception as e:  # noqa: BLE001 a summary must not end the consumer
                log.warning("night_not_closed", error=repr(e)[:300])
            else:
                self._looked = now
                if sent:
                    log.info("nights_closed", summaries=sent)
