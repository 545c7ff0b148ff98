"""Many rows at once: the driver's own statements on SQLite, COPY on PostgreSQL.

The driver gets words and values as they are: SQLAlchemy would bind fifty names a row, a tenth of
the time.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

__all__ = ["COPY_FROM", "insert_rows"]

COPY_FROM = 20
"""Rows from which COPY is worth its three statements more."""


def insert_rows(
    connection: Connection,
    table: str,
    names: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
    on_conflict: str = "",
) -> int:
    """Insert rows within the caller's transaction.

    Parameters
    ----------
    names
        Columns, in the order of the values; those of the key first.
    rows
        Where something stands in ``on_conflict``, each key once.
    on_conflict
        What follows the INSERT: which rows are replaced, which stay.

    Returns
    -------
    int
        Rows inserted or replaced.

    Raises
    ------
    sqlalchemy.exc.DBAPIError
        A value that the database cannot hold, or the database does not work.
    """
    if not rows:
        return 0
    if connection.dialect.name == "postgresql" and len(rows) >= COPY_FROM:
        return _copy(connection, table, names, rows, on_conflict)
    statement = _insert(table, names, on_conflict, connection.dialect.name)
    if on_conflict and connection.dialect.name == "postgresql":
        # One order for all writers, so that two never wait for each other's locks. SQLite has one
        # writer at a time, and its indexes grow best in the order in which rows come.
        rows = sorted(rows, key=lambda row: row[:2])
    return connection.exec_driver_sql(statement, list(rows)).rowcount


def _copy(
    connection: Connection,
    table: str,
    names: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
    on_conflict: str,
) -> int:
    if not on_conflict:
        _stream(connection, f"COPY {table} ({_quoted(names)}) FROM STDIN", rows)
        return len(rows)
    create, copy, insert, drop = _statements(table, names, on_conflict)
    connection.exec_driver_sql(create)
    _stream(connection, copy, rows)
    changed = connection.exec_driver_sql(insert).rowcount
    connection.exec_driver_sql(drop)
    return changed


def _stream(connection: Connection, copy: str, rows: Sequence[tuple[Any, ...]]) -> None:
    cursor: Any = connection.connection.cursor()
    driver: Any = connection.dialect.loaded_dbapi
    try:
        with cursor.copy(copy) as stream:
            for row in rows:
                stream.write_row(row)
    except driver.Error as e:
        # As SQLAlchemy says it of its own statements.
        raise DBAPIError.instance(copy, None, e, driver.Error, dialect=connection.dialect) from e
    finally:
        cursor.close()


@lru_cache
def _insert(table: str, names: tuple[str, ...], on_conflict: str, dialect: str) -> str:
    places = ", ".join(["%s" if dialect == "postgresql" else "?"] * len(names))
    return f"INSERT INTO {table} ({_quoted(names)}) VALUES ({places}) {on_conflict}"  # noqa: S608 our own words


@lru_cache
def _statements(table: str, names: tuple[str, ...], on_conflict: str) -> tuple[str, str, str, str]:
    columns, new = _quoted(names), f"{table}_new"
    kinds = ", ".join(f'{table}."{name}"' for name in names)
    create = f"CREATE TEMPORARY TABLE {new} ON COMMIT DROP AS SELECT {kinds} FROM {table}"  # noqa: S608 our own words
    insert = f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {new}"  # noqa: S608 our own words
    return (
        f"{create} WITH NO DATA",
        f"COPY {new} ({columns}) FROM STDIN",
        f'{insert} ORDER BY "{names[0]}", "{names[1]}" {on_conflict}',
        f"DROP TABLE {new}",
    )


@lru_cache
def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)
