"""Many rows at once into PostgreSQL: COPY into a temporary table, and one upsert from there."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from residua.catalog.rows import Row
from residua.catalog.statements import columns, on_conflict, values

__all__ = ["copy_rows"]


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
                stream.write_row(values(row))
    except driver.Error as e:
        # As SQLAlchemy says it of its own statements.
        raise DBAPIError.instance(copy, None, e, driver.Error, dialect=connection.dialect) from e
    finally:
        cursor.close()
    changed = connection.exec_driver_sql(upsert).rowcount
    connection.exec_driver_sql("DROP TABLE obscore_new")
    return changed


@cache
def _statements() -> tuple[str, str, str]:
    names = ", ".join(columns())
    kinds = ", ".join(f"obscore.{name}" for name in columns())
    create = (
        f"CREATE TEMPORARY TABLE obscore_new ON COMMIT DROP AS SELECT {kinds} FROM obscore "  # noqa: S608 our own words
        "WITH NO DATA"
    )
    upsert = (
        f"INSERT INTO obscore ({names}) SELECT {names} FROM obscore_new ORDER BY dataset_id "  # noqa: S608 our own words
        f"{on_conflict()}"
    )
    return create, f"COPY obscore_new ({names}) FROM STDIN", upsert
