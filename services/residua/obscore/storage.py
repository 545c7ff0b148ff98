"""The table of images whose files are not kept for ever, written by the catalog and by expiring."""

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import Connection, inspect

from residua.obscore.table import image_storage

__all__ = ["Storage", "has_storage", "set_storage"]

type Storage = Literal["recent", "expiring", "on demand"]

_ORDER = {"recent": 0, "expiring": 1, "on demand": 2}


def set_storage(connection: Connection, rows: Sequence[tuple[str, int, str, str]]) -> None:
    """Note how images are stored, in the caller's transaction.

    A higher number wins; of one number the later state, since a file that was let go does not come
    back: so that it may be done twice, and an outcome that is read again changes nothing.

    Parameters
    ----------
    rows
        Dataset id, number, storage, run.
    """
    if not rows:
        return
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    later = " ".join(f"WHEN '{state}' THEN {n}" for state, n in _ORDER.items())
    statement = (
        "INSERT INTO image_storage (dataset_id, number, storage, run) "  # noqa: S608 our own words
        f"VALUES ({', '.join([mark] * 4)}) ON CONFLICT (dataset_id) DO UPDATE SET "
        "number = excluded.number, storage = excluded.storage, run = excluded.run "
        "WHERE excluded.number > image_storage.number OR (excluded.number = image_storage.number "
        f"AND CASE excluded.storage {later} END > CASE image_storage.storage {later} END)"
    )
    connection.exec_driver_sql(statement, list(rows))


def has_storage(connection: Connection) -> bool:
    """Whether the table is there and may be read; earlier releases kept all files for ever."""
    if connection.dialect.name == "postgresql":
        allowed = "SELECT has_table_privilege(to_regclass('image_storage'), 'SELECT')"
        return bool(connection.exec_driver_sql(allowed).scalar())
    return inspect(connection).has_table(image_storage.name)
