"""Reading PostgreSQL with as few round trips as a query can do with."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError

from residua.access.adql import UploadedTable
from residua.access.store.temporary import postgres_tables

if TYPE_CHECKING:
    import psycopg

__all__ = ["open_postgres", "reading", "streamed"]

_CHUNK_ROWS = 1_000
# A connection that was used a moment ago is not asked whether it still lives.
_TRUSTED_SECONDS = 5.0


def open_postgres(url: str, connections: int) -> Engine:
    """Open a database for reading.

    Every statement is on its own unless `reading` begins a transaction.

    Parameters
    ----------
    connections
        Most connections that are kept.
    """
    engine = create_engine(url, pool_size=connections, isolation_level="AUTOCOMMIT")

    @event.listens_for(engine, "checkin")
    def _note(_connection: object, record: Any) -> None:
        record.info["since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _test(connection: Any, record: Any, _proxy: object) -> None:
        if time.monotonic() - record.info.get("since", time.monotonic()) < _TRUSTED_SECONDS:
            return
        try:
            connection.execute("SELECT 1")
        except engine.dialect.loaded_dbapi.Error as e:
            raise DisconnectionError(str(e)) from e

    return engine


@contextmanager
def reading(
    connection: Connection, milliseconds: int, uploads: Sequence[UploadedTable]
) -> Iterator[Callable[[], None]]:
    """Begin a transaction that can only read, with a limit of time; yield what cancels it.

    The pool ends it when the connection is given back.

    Parameters
    ----------
    uploads
        Tables that exist within it.
    """
    # Compiling costs 80 ms where the planner takes a cone for many rows, which it always does.
    begin = (
        f"BEGIN READ ONLY; SET LOCAL statement_timeout = {milliseconds:d}; SET LOCAL jit = off"
    ).encode()
    raw = _driver(connection)
    try:
        raw.execute(begin)
    except connection.dialect.loaded_dbapi.OperationalError:
        if not raw.closed:
            raise
        # The server was started anew meanwhile: nothing was begun, another connection will do.
        connection.invalidate()
        raw = _driver(connection)
        raw.execute(begin)
    if uploads:
        postgres_tables(connection, uploads)
        raw.execute(b"SET TRANSACTION READ ONLY")
    yield raw.cancel


def streamed(
    connection: Connection, sql: str, parameters: dict[str, float | str]
) -> Generator[tuple[Any, ...]]:
    """Run a statement and yield its rows as they come; closing it ends the statement."""
    from psycopg import capabilities

    size = _CHUNK_ROWS if capabilities.has_stream_chunked() else 1
    with _driver(connection).cursor() as cursor:
        rows = cast(
            "Generator[tuple[Any, ...]]", cursor.stream(sql.encode(), parameters, size=size)
        )
        with closing(rows):
            yield from rows


def _driver(connection: Connection) -> "psycopg.Connection[Any]":
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)
