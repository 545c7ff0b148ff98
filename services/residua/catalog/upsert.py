"""Writing rows so that it may be done twice, and in any order of revisions."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, and_, delete, or_
from sqlalchemy.dialects import postgresql, sqlite

from residua.catalog.copying import copy_rows, replaced_columns
from residua.catalog.rows import Row
from residua.obscore import obscore

__all__ = ["COPY_FROM", "newest", "upsert_rows", "withdraw_templates"]

COPY_FROM = 20
"""Rows from which COPY is worth its three statements more."""


def newest(rows: Iterable[Row]) -> list[Row]:
    """Keep one row per dataset: the highest revision, of equal revisions the last."""
    kept: dict[object, Row] = {}
    for row in rows:
        held = kept.get(row["dataset_id"])
        if held is None or _revision(row) >= _revision(held):
            kept[row["dataset_id"]] = row
    # One order for all writers, so that two never wait for each other's locks.
    return sorted(kept.values(), key=lambda row: str(row["dataset_id"]))


def upsert_rows(connection: Connection, rows: Sequence[Row]) -> int:
    """Insert or replace rows within the caller's transaction.

    A row gives way to a higher revision, and to another content under the same revision: records
    of one dataset come from one partition in order, so the last one describes the file that is
    there. Older revisions and equal repeats change nothing.

    Returns
    -------
    changed
        Number of rows inserted or replaced.
    """
    chosen = newest(rows)
    return _upsert(connection, chosen) if chosen else 0


def withdraw_templates(connection: Connection, record_keys: Sequence[str]) -> int:
    """Delete the rows of templates withdrawn by a tombstone; returns how many there were."""
    if not record_keys:
        return 0
    statement = delete(obscore).where(
        obscore.c.dataset_type == "template_coadd", obscore.c.record_key.in_(record_keys)
    )
    return connection.execute(statement).rowcount


def _upsert(connection: Connection, rows: Sequence[Row]) -> int:
    if connection.dialect.name == "postgresql":
        return (
            copy_rows(connection, rows)
            if len(rows) >= COPY_FROM
            else _insert(connection, postgresql.insert(obscore), rows)
        )
    return _insert(connection, sqlite.insert(obscore), rows)


def _insert(
    connection: Connection, insert: postgresql.Insert | sqlite.Insert, rows: Sequence[Row]
) -> int:
    new = insert.excluded
    statement = insert.on_conflict_do_update(
        index_elements=[obscore.c.dataset_id],
        set_={name: new[name] for name in replaced_columns()},
        where=or_(
            new.revision > obscore.c.revision,
            and_(new.revision == obscore.c.revision, new.row_hash != obscore.c.row_hash),
        ),
    )
    # The rows go as parameters: the statement is compiled once, ten times as fast as one with
    # all their values. RETURNING, because psycopg gives no row count for many of them.
    return len(connection.execute(statement.returning(obscore.c.dataset_id), rows).all())


def _revision(row: Row) -> int:
    revision = row["revision"]
    assert isinstance(revision, int)
    return revision
