"""Many rows at once into PostgreSQL: COPY into a temporary table, and one upsert from there."""

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import JSON, Connection
from sqlalchemy.exc import DBAPIError

from residua.catalog.rows import Row
from residua.obscore import obscore

__all__ = ["copy_rows", "replaced_columns"]


def replaced_columns() -> list[str]:
    """Names of the columns that a newer row of the same dataset replaces."""
    return [c.name for c in obscore.columns if c.name not in {"row_id", "dataset_id"}]


def copy_rows(connection: Connection, rows: Sequence[Row]) -> int:
    """Insert or replace rows of different datasets within the caller's transaction.

    Parameters
    ----------
    connection
        To PostgreSQL, through psycopg.
    rows
        In the order in which locks are to be taken.

    Returns
    -------
    int
        Rows inserted or replaced: those of a higher revision, or of other content under the
        same one.

    Raises
    ------
    sqlalchemy.exc.DBAPIError
        A value that the database cannot hold, or the database does not work.
    """
    create, copy, upsert = _statements()
    connection.exec_driver_sql(create)
    cursor: Any = connection.connection.cursor()
    driver: Any = connection.dialect.loaded_dbapi
    try:
        with cursor.copy(copy) as stream:
            for row in rows:
                stream.write_row([value(row) for value in _values()])
    except driver.Error as e:
        # As SQLAlchemy says it of its own statements.
        raise DBAPIError.instance(copy, None, e, driver.Error, dialect=connection.dialect) from e
    finally:
        cursor.close()
    changed = connection.exec_driver_sql(upsert).rowcount
    connection.exec_driver_sql("DROP TABLE obscore_new")
    return changed


def _columns() -> list[str]:
    return ["dataset_id", *replaced_columns()]


@cache
def _values() -> tuple[Callable[[Row], object], ...]:
    def plain(name: str) -> Callable[[Row], object]:
        return lambda row: row[name]

    def encoded(name: str) -> Callable[[Row], object]:
        return lambda row: json.dumps(row[name])

    return tuple(
        encoded(name) if isinstance(obscore.c[name].type, JSON) else plain(name)
        for name in _columns()
    )


@cache
def _statements() -> tuple[str, str, str]:
    names = ", ".join(_columns())
    kinds = ", ".join(f"obscore.{name}" for name in _columns())
    replace = ", ".join(f"{name} = excluded.{name}" for name in replaced_columns())
    create = (
        f"CREATE TEMPORARY TABLE obscore_new ON COMMIT DROP AS SELECT {kinds} FROM obscore "  # noqa: S608 our own words
        "WITH NO DATA"
    )
    upsert = (
        f"INSERT INTO obscore ({names}) SELECT {names} FROM obscore_new ORDER BY dataset_id "  # noqa: S608 our own words
        f"ON CONFLICT (dataset_id) DO UPDATE SET {replace} "
        "WHERE excluded.revision > obscore.revision OR (excluded.revision = obscore.revision "
        "AND excluded.row_hash <> obscore.row_hash)"
    )
    return create, f"COPY obscore_new ({names}) FROM STDIN", upsert
