"""From outcomes to rows of ``visit_detector``, and from tables of detections to ``dia_source``."""

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace as with_changes
from functools import cache
from operator import itemgetter
from typing import Any

import structlog
from sqlalchemy import Connection, delete, select

from residua.catalog.outcome_rows import OutcomeRows, Row
from residua.catalog.writing.inserting import insert_rows
from residua.errors import ChecksumMismatchError, MissingFileError
from residua.obscore import dia_source, visit_detector
from residua.storage.objects import read_object, resolve
from residua_schemas import DetectionsReference

__all__ = ["DetectionReader", "detection_reader", "write_outcomes"]

_log = structlog.get_logger(__name__)
type DetectionReader = Callable[[DetectionsReference], Sequence[Row] | None]
"""Rows of a table of detections by its reference; `None` if it is not there (any more)."""


def detection_reader(roots: Sequence[str]) -> DetectionReader:
    """Return what reads tables of detections under some roots."""

    def read(reference: DetectionsReference) -> Sequence[Row] | None:
        location = resolve(reference.uri, roots)
        try:
            content, _ = read_object(location, reference.checksum)
        except (MissingFileError, ChecksumMismatchError) as e:
            # Of an older revision: the table of the newest one is there.
            _log.warning("detections_not_there", uri=reference.uri, reason=e.message)
            return None
        return _rows(content)

    return read


def _rows(content: bytes) -> list[Row]:
    from pyarrow import parquet

    table = parquet.read_table(io.BytesIO(content))
    known = {column.name for column in dia_source.columns}
    names = [name for name in table.column_names if name.lower() in known]
    columns = [_values(table.column(name)) for name in names]
    keys = [name.lower() for name in names]
    return [dict(zip(keys, values, strict=True)) for values in zip(*columns, strict=True)]


def _values(column: Any) -> list[Any]:
    # Flags are whole numbers in the databases.
    plain = column.cast("int8") if str(column.type) == "bool" else column
    return list(plain.to_pylist())


def write_outcomes(
    connection: Connection, outcomes: Iterable[OutcomeRows], read: DetectionReader | None
) -> int:
    """Insert or replace the rows of outcomes and their detections, in the caller's transaction.

    A row gives way to one of a higher number, and to other content under the same one; so do its
    detections, all of them at once. What was skipped, failed or came too late displaces no image
    (`residua.ledger`). Writing the same twice changes nothing.

    Parameters
    ----------
    read
        Reads tables of detections; `None` leaves them out.

    Returns
    -------
    changed
        Number of rows of ``visit_detector`` that were inserted or replaced.
    """
    newest: dict[str, OutcomeRows] = {}
    for outcome in outcomes:
        held = newest.get(outcome.dataset_id)
        if held is None or outcome.precedence > held.precedence:
            newest[outcome.dataset_id] = outcome
        elif outcome.precedence == held.precedence:
            newest[outcome.dataset_id] = _with_cost(outcome, held)
    keys = list(newest)
    there = _there(connection, keys)
    changed = {
        key: newest[key].detections for key in keys if not _holds(there.get(key), newest[key], read)
    }
    found = {
        key: None if reference is None or read is None else read(reference)
        for key, reference in changed.items()
    }
    if not changed:
        return 0
    _upsert(
        connection,
        [
            newest[key].visit_detector
            | {"sources": None if detections is None else len(detections)}
            for key, detections in found.items()
        ],
    )
    wanted = [key for key in changed if key in there or found[key]]
    numbers = {key: row.visitdetectorid for key, row in _there(connection, wanted).items()}
    old = [numbers[key] for key in changed if key in there]
    if old:
        connection.execute(delete(dia_source).where(dia_source.c.visitdetectorid.in_(old)))
    for key, detections in found.items():
        if detections:
            _insert(connection, numbers[key], detections)
    return len(changed)


def _with_cost(again: OutcomeRows, first: OutcomeRows) -> OutcomeRows:
    # As between batches, see `_words`.
    if again.visit_detector["cpu_seconds"] is not None:
        return again
    cost = {"cpu_seconds": first.visit_detector["cpu_seconds"]}
    return with_changes(again, visit_detector=again.visit_detector | cost)


def _there(connection: Connection, keys: Sequence[str]) -> dict[str, Any]:
    if not keys:
        return {}
    c = visit_detector.c
    columns = (c.dataset_id, c.visitdetectorid, c.revision, c.outcome, c.row_hash, c.sources)
    statement = select(*columns).where(c.dataset_id.in_(keys)).order_by(c.dataset_id)
    return {row.dataset_id: row for row in connection.execute(statement.with_for_update())}


def _holds(there: Any, outcome: OutcomeRows, read: DetectionReader | None) -> bool:
    """Whether the database has this row, or a newer one, with its detections."""
    if there is None:
        return False
    held = (there.outcome == "created", there.revision)
    if held != outcome.precedence:
        return held > outcome.precedence
    loaded = there.sources is not None or outcome.detections is None or read is None
    return bool(loaded and there.row_hash == outcome.visit_detector["row_hash"])


def _upsert(connection: Connection, rows: Sequence[Row]) -> None:
    names, replace = _words()
    insert_rows(connection, "visit_detector", names, list(map(itemgetter(*names), rows)), replace)


def _insert(connection: Connection, image: int, rows: Sequence[Row]) -> None:
    names = ("visitdetectorid", *(name for name in rows[0] if name != "visitdetectorid"))
    values = [(image, *(row[name] for name in names[1:])) for row in rows]
    insert_rows(connection, "dia_source", names, values)


@cache
def _words() -> tuple[tuple[str, ...], str]:
    rest = [c.name for c in visit_detector.columns if c.name != "visitdetectorid"]
    rest.remove("dataset_id")
    replace = ", ".join(
        # What came again was not made again: the cost of making it stays.
        "cpu_seconds = CASE WHEN excluded.revision = visit_detector.revision "
        "THEN COALESCE(excluded.cpu_seconds, visit_detector.cpu_seconds) "
        "ELSE excluded.cpu_seconds END"
        if name == "cpu_seconds"
        else f'"{name}" = excluded."{name}"'
        for name in rest
    )
    return ("dataset_id", *rest), f"ON CONFLICT (dataset_id) DO UPDATE SET {replace}"
