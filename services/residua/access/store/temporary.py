"""Tables of one query, in the session that runs it."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import Connection

from residua.access.adql import UploadedTable

if TYPE_CHECKING:
    import psycopg

__all__ = ["postgres_tables", "sqlite_tables"]

_TYPES = {"int": "bigint", "long": "bigint", "double": "double precision", "text": "text"}


def postgres_tables(connection: Connection, tables: Sequence[UploadedTable]) -> None:
    """Create and fill temporary tables; they are gone with the transaction.

    The role may be one that only reads: PostgreSQL lets it have temporary tables unless TEMPORARY
    on the database was taken from it.
    """
    connection.exec_driver_sql("SET TRANSACTION READ WRITE")
    raw = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    for table in tables:
        columns = ", ".join(
            f"{_quoted(column.name)} {_TYPES[column.kind]}" for column in table.schema.columns
        )
        name = _quoted(table.schema.sql)
        # psycopg takes a percent sign for a parameter.
        create = f"CREATE TEMPORARY TABLE {name} ({columns}) ON COMMIT DROP".replace("%", "%%")
        connection.exec_driver_sql(create)
        with raw.cursor() as cursor, cursor.copy(f"COPY {name} FROM STDIN".encode()) as copy:
            for row in table.rows:
                copy.write_row(row)
        # 500 targets want another plan than 500,000.
        connection.exec_driver_sql(f"ANALYZE {name}")


@contextmanager
def sqlite_tables(connection: Connection, tables: Sequence[UploadedTable]) -> Iterator[None]:
    """Create and fill temporary tables in memory; drop them at the end."""
    if not tables:
        yield
        return
    raw = cast("sqlite3.Connection", connection.connection.driver_connection)
    names = [_quoted(table.schema.sql) for table in tables]
    raw.execute("PRAGMA temp_store = MEMORY")
    # The catalog's file stays read-only: it was opened so.
    raw.execute("PRAGMA query_only = OFF")
    try:
        for name, table in zip(names, tables, strict=True):
            columns = table.schema.columns
            head = ", ".join(f"{_quoted(c.name)} {_TYPES[c.kind]}" for c in columns)
            raw.execute(f"CREATE TEMPORARY TABLE {name} ({head})")
            places = ", ".join("?" * len(columns))
            raw.executemany(f"INSERT INTO {name} VALUES ({places})", table.rows)  # noqa: S608 ours
        raw.commit()
        raw.execute("PRAGMA query_only = ON")
        yield
    finally:
        raw.rollback()
        raw.execute("PRAGMA query_only = OFF")
        for name in names:
            raw.execute(f"DROP TABLE IF EXISTS temp.{name}")
        raw.commit()
        raw.execute("PRAGMA query_only = ON")


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
