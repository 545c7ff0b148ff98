"""Writing rows so that it may be done twice, and in any order of revisions."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete

from residua.catalog.rows import Row
from residua.catalog.writing.inserting import insert_rows
from residua.catalog.writing.statements import columns, on_conflict, values
from residua.obscore import obscore

__all__ = ["newest", "upsert_rows", "withdraw_templates"]


def newest(rows: Iterable[Row]) -> list[Row]:
    """Keep one row per dataset, as `on_conflict` would: the highest number, of equal ones one."""
    kept: dict[object, Row] = {}
    for row in rows:
        held = kept.get(row["dataset_id"])
        if held is None or _replaces(row, held):
            kept[row["dataset_id"]] = row
    return list(kept.values())


def upsert_rows(connection: Connection, rows: Sequence[Row]) -> int:
    """Insert or replace rows within the caller's transaction.

    A row gives way to one of a higher number, see `residua.ledger`, in whatever order they come;
    lower numbers and equal repeats change nothing.

    Returns
    -------
    changed
        Number of rows inserted or replaced.
    """
    chosen = [values(row) for row in newest(rows)]
    return insert_rows(connection, "obscore", columns(), chosen, on_conflict())


def withdraw_templates(connection: Connection, record_keys: Sequence[str]) -> int:
    """Delete the rows of templates withdrawn by a tombstone; returns how many there were."""
    if not record_keys:
        return 0
    statement = delete(obscore).where(
        obscore.c.dataset_type == "template_coadd", obscore.c.record_key.in_(record_keys)
    )
    return connection.execute(statement).rowcount


def _replaces(row: Row, held: Row) -> bool:
    if _revision(row) != _revision(held):
        return _revision(row) > _revision(held)
    return row["dataset_type"] != "visit_image" or str(row["row_hash"]) > str(held["row_hash"])


def _revision(row: Row) -> int:
    revision = row["revision"]
    assert isinstance(revision, int)
    return revision
