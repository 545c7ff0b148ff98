"""Opening the catalog's database, and writing one batch of records in one transaction."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, IntegrityError, InternalError

from residua.catalog.outcome_rows import OutcomeRows, outcome_rows
from residua.catalog.plan_rows import PlanRow, announced_rows, arrived_row, read_row
from residua.catalog.rows import (
    Row,
    Site,
    difference_image_row,
    template_coadd_row,
    visit_image_row,
)
from residua.catalog.writing.arrival_outcomes import keep_outcomes
from residua.catalog.writing.detection_rows import DetectionReader, write_outcomes
from residua.catalog.writing.image_storage import StorageRow, storage_row
from residua.catalog.writing.plans import write_plans
from residua.catalog.writing.upsert import upsert_rows, withdraw_templates
from residua.errors import MalformedEventError, ResiduaError
from residua.extras import require_for
from residua.messaging.records.events import IncomingRecord, parse_event
from residua.obscore import create_tables, set_storage
from residua_schemas import (
    NEXT_VISITS,
    VISIT_ARRIVALS,
    DifferenceImageCreated,
    DifferenceImageOutcome,
    NextVisit,
    TemplateCoadd,
    VisitArrival,
    outcome_from_json,
)

__all__ = ["BatchResult", "PlanTopics", "open_database", "write_batch"]


_REFUSALS = (DataError, IntegrityError, OverflowError, InternalError)


@dataclass(frozen=True)
class BatchResult:
    """What became of a batch.

    Parameters
    ----------
    changed
        Rows inserted, replaced or withdrawn.
    refused
        Records that cannot be rows, and why.
    """

    changed: int
    refused: tuple[tuple[IncomingRecord, ResiduaError], ...]


@dataclass(frozen=True)
class _Change:
    """What one record changes: all of it, or nothing."""

    record: IncomingRecord
    rows: tuple[Row, ...]
    withdrawn: str | None = None
    outcome: OutcomeRows | None = None
    storage: StorageRow | None = None
    plans: tuple[PlanRow, ...] = ()


@dataclass(frozen=True)
class PlanTopics:
    """Full names of the topics that tell what is planned and what has arrived."""

    next_visits: str = NEXT_VISITS.name
    arrivals: str = VISIT_ARRIVALS.name

    def __contains__(self, topic: object) -> bool:
        return topic in {self.next_visits, self.arrivals}


_PLAIN = PlanTopics()


def open_database(url: str) -> Engine:
    """Open the database and create what is missing in it.

    SQLite is set to write-ahead logging, so that readers and the writer do not wait for each
    other, and waits up to 30 s for another writer.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        require_for(url)
        engine = create_engine(url, pool_pre_ping=True)
    else:
        engine = create_engine(url, connect_args={"timeout": 30.0})

        @event.listens_for(engine, "connect")
        def _configure(connection: Any, _record: object) -> None:
            connection.execute("PRAGMA synchronous=NORMAL")
            # The indexes of a million rows: with the default of 2 MB a third slower.
            connection.execute("PRAGMA cache_size=-131072")
            # Random keys touch the same pages again and again: 80 MB of them are written to the
            # file at once, not 4 MB. A fifth faster.
            connection.execute("PRAGMA wal_autocheckpoint=20000")

    create_tables(engine)
    return engine


def write_batch(
    engine: Engine,
    records: Sequence[IncomingRecord],
    topic_of_outcomes: str,
    site: Site,
    read_detections: DetectionReader | None = None,
    plan_topics: PlanTopics = _PLAIN,
) -> BatchResult:
    """Write all rows of a batch in one transaction; what cannot be a row is returned.

    Parameters
    ----------
    records
        Outcomes and template coadds, in order within each partition.
    topic_of_outcomes
        Full name of the topic ``difference-images``; the other records are template coadds.
    read_detections
        Reads the detections that outcomes refer to; `None` leaves them out.
    plan_topics
        Topics of announcements and arrivals. What cannot be read there, or be a row, is passed
        over here: the worker sends it to the dead letters, or makes an outcome of it, and one
        record has one letter.

    Raises
    ------
    sqlalchemy.exc.DBAPIError
        The database does not work: nothing was written.
    residua.errors.TransientError
        The store of the detections does not answer: nothing was written.
    """
    with _uncollected():
        return _write(engine, records, topic_of_outcomes, site, read_detections, plan_topics)


@contextmanager
def _uncollected() -> Iterator[None]:
    # A batch is many objects and no cycles: to look through them again and again, which is what
    # the collector does, costs a twentieth.
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _write(
    engine: Engine,
    records: Sequence[IncomingRecord],
    topic_of_outcomes: str,
    site: Site,
    read_detections: DetectionReader | None,
    plan_topics: PlanTopics,
) -> BatchResult:
    changes: list[_Change] = []
    refused: list[tuple[IncomingRecord, ResiduaError]] = []
    for record in records:
        try:
            if record.topic in plan_topics:
                changes.append(_plan_change(record, site, plan_topics))
            elif record.topic == topic_of_outcomes:
                changes.append(_outcome_change(record, site))
            else:
                changes.append(_template_change(record, site))
        except ResiduaError as e:
            refused.append((record, e))
        except (ValueError, OverflowError, TypeError) as e:
            refused.append((record, _not_a_row(record, e)))
    try:
        with engine.begin() as connection:
            changed = _apply(connection, changes, read_detections)
    except _REFUSALS as e:
        _raise_unless_refused(e)
        # One value the database cannot hold: find it, and write the rest.
        with engine.begin() as connection:
            changed = _apply_singly(connection, changes, refused, read_detections)
    return BatchResult(changed, tuple(r for r in refused if r[0].topic not in plan_topics))


def _apply(
    connection: Connection, changes: Sequence[_Change], read_detections: DetectionReader | None
) -> int:
    # Tombstones and templates keep their order; a withdrawn template that came before the
    # tombstone must not be written after it.
    withdrawn = {c.withdrawn: n for n, c in enumerate(changes) if c.withdrawn is not None}
    rows = [
        row
        for n, c in enumerate(changes)
        for row in c.rows
        if not (
            row["dataset_type"] == "template_coadd"
            and n < withdrawn.get(str(row["record_key"]), -1)
        )
    ]
    keys = [key for key in withdrawn if key is not None]
    changed = withdraw_templates(connection, keys) + upsert_rows(connection, rows)
    outcomes = [change.outcome for change in changes if change.outcome is not None]
    write_outcomes(connection, outcomes, read_detections)
    keep_outcomes(connection, outcomes)
    write_plans(connection, [row for change in changes for row in change.plans])
    set_storage(connection, sorted(c.storage for c in changes if c.storage is not None))
    return changed


def _apply_singly(
    connection: Connection,
    changes: Sequence[_Change],
    refused: list[tuple[IncomingRecord, ResiduaError]],
    read_detections: DetectionReader | None,
) -> int:
    changed = 0
    for change in changes:
        try:
            with connection.begin_nested():
                changed += _apply(connection, [change], read_detections)
        except _REFUSALS as e:
            _raise_unless_refused(e)
            refused.append((change.record, _not_a_row(change.record, e)))
    return changed


def _outcome_change(record: IncomingRecord, site: Site) -> _Change:
    outcome, text = parse_event(record, _with_text, "outcome")
    visit_image = visit_image_row(outcome, site)
    rows = [] if visit_image is None else [visit_image]
    if isinstance(outcome, DifferenceImageCreated):
        rows.append(difference_image_row(outcome, site, text))
    # The visit image's own event is the arrival.
    arrival = None if visit_image is None else str(visit_image["event"])
    kept = outcome_rows(outcome, record.timestamp_ms, arrival, record.cpu_seconds)
    plans = (read_row(outcome, record.timestamp_ms, site),)
    return _Change(record, tuple(rows), outcome=kept, storage=storage_row(outcome), plans=plans)


def _with_text(value: bytes) -> tuple[DifferenceImageOutcome, str | None]:
    outcome = outcome_from_json(value)
    # Its text goes into a JSON column as it is. Neither database takes these words of Python's.
    plain = b"NaN" not in value and b"Infinity" not in value
    return outcome, value.decode() if plain else None


def _plan_change(record: IncomingRecord, site: Site, topics: PlanTopics) -> _Change:
    if record.topic == topics.next_visits:
        visit = parse_event(record, NextVisit.model_validate_json, "next visit")
        return _Change(record, (), plans=announced_rows(visit, record.timestamp_ms, site))
    arrival = parse_event(record, VisitArrival.model_validate_json, "visit arrival")
    return _Change(record, (), plans=(arrived_row(arrival, record.timestamp_ms, site),))


def _template_change(record: IncomingRecord, site: Site) -> _Change:
    if record.is_tombstone:
        return _Change(record, (), (record.key or b"").decode(errors="replace"))
    template = parse_event(record, TemplateCoadd.model_validate_json, "template coadd")
    return _Change(record, (template_coadd_row(template, site),))


def _raise_unless_refused(error: Exception) -> None:
    # pg_sphere calls a polygon that crosses itself an internal error; other such are the server's.
    if isinstance(error, InternalError) and "spherepoly" not in str(error.orig):
        raise error


def _not_a_row(record: IncomingRecord, error: Exception) -> ResiduaError:
    text = str(error).splitlines()[0][:300] if str(error) else ""
    return MalformedEventError(
        f"{record.place} cannot be a row of the catalog: {type(error).__name__}: {text}"
    )
