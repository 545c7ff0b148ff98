"""Fill an empty catalog by reading the topics from their start: Kafka alone holds all of it."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import batched

from sqlalchemy import Engine, func, select

from residua.catalog.night_accounts import last_closed
from residua.catalog.settings import CatalogSettings
from residua.catalog.writing.detection_rows import detection_reader
from residua.catalog.writing.plans import miss_plans
from residua.catalog.writing.transaction import open_database, write_batch
from residua.errors import ResiduaError
from residua.messaging.client import read_to_end
from residua.messaging.records.events import IncomingRecord, incoming
from residua.obscore import obscore
from residua_schemas import DIFFERENCE_IMAGES, TEMPLATE_COADDS

__all__ = ["CatalogNotEmptyError", "RebuildReport", "fill_catalog", "rebuild_catalog"]


class CatalogNotEmptyError(ResiduaError):
    """The database to be filled already has rows."""

    responsible = "operator"


@dataclass(frozen=True)
class RebuildReport:
    """What a rebuild came to.

    Parameters
    ----------
    records
        Records read.
    rows
        Rows in the catalog now.
    refused
        Records that cannot be rows; the running consumer has sent them to the dead letters.
    """

    records: int
    rows: int
    refused: int


async def rebuild_catalog(settings: CatalogSettings) -> RebuildReport:
    """Fill the database ``settings.catalog_url``, which must be empty or absent.

    No consumer group is touched: the running catalog goes on beside it.

    Raises
    ------
    CatalogNotEmptyError
        There are rows already; give the URL of another database.
    """
    engine = _open_empty(settings)
    try:
        return await _rebuild(settings, engine)
    finally:
        engine.dispose()


def fill_catalog(
    settings: CatalogSettings, records: Iterable[IncomingRecord], topic_of_outcomes: str
) -> RebuildReport:
    """Fill the database with records that were read already; as `rebuild_catalog`."""
    engine = _open_empty(settings)
    roots = settings.detection_roots
    read = detection_reader(roots) if roots else None
    number = refused = 0
    try:
        for batch in batched(records, settings.batch_records):
            result = write_batch(
                engine, batch, topic_of_outcomes, settings.site, read, settings.plan_topics
            )
            number += len(batch)
            refused += len(result.refused)
        return RebuildReport(number, _count(engine), refused)
    finally:
        engine.dispose()


def _open_empty(settings: CatalogSettings) -> Engine:
    engine = open_database(settings.catalog_url)
    there = _count(engine)
    if there:
        engine.dispose()
        raise CatalogNotEmptyError(
            f"the catalog has {there} rows; give an empty database", rows=there
        )
    return engine


async def _rebuild(settings: CatalogSettings, engine: Engine) -> RebuildReport:
    outcomes = settings.topic_name(DIFFERENCE_IMAGES)
    records = refused = 0
    roots = settings.detection_roots
    read = detection_reader(roots) if roots else None

    async def write(batch: Sequence[IncomingRecord]) -> int:
        result = await asyncio.to_thread(
            write_batch, engine, batch, outcomes, settings.site, read, plans
        )
        return len(result.refused)

    plans = settings.plan_topics
    templates = settings.topic_name(TEMPLATE_COADDS)
    for topic in (outcomes, templates, plans.arrivals, plans.next_visits):
        batch: list[IncomingRecord] = []
        async for r in read_to_end(settings, topic):
            batch.append(incoming(r))
            records += 1
            if len(batch) == settings.batch_records:
                refused += await write(batch)
                batch = []
        refused += await write(batch)
    with engine.begin() as connection:
        # All of history at once: the consumer itself looks at thirty nights.
        miss_plans(connection, 0, last_closed(datetime.now(UTC), settings.night_summary_hours))
    return RebuildReport(records, _count(engine), refused)


def _count(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(obscore)) or 0
