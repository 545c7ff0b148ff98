"""Reading the catalog: read-only connections, with limits of time."""

import sqlite3
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from types import MappingProxyType
from typing import Any, Literal, cast
from urllib.parse import quote

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    event,
    select,
    text,
)
from sqlalchemy.engine import make_url

from residua.access.adql import (
    TableSchema,
    Translation,
    TranslationCache,
    UploadedTable,
    translate,
)
from residua.access.dali.errors import QueryTimeoutError
from residua.access.limits.cancellation import Cancellation
from residua.access.store.datasets import datasets, related
from residua.access.store.postgres import open_postgres, reading, streamed
from residua.access.store.public_tables import TABLES
from residua.access.store.query_limits import Limits, is_set, named_errors, timeout_message
from residua.access.store.seen import SERVICE, as_seen
from residua.access.store.sqlite_functions import register_functions
from residua.access.store.temporary import sqlite_tables
from residua.extras import require_for
from residua.obscore import has_storage, obscore

__all__ = ["Catalog", "open_catalog"]

_BATCH = 1_000
# What a read-only file does not stop by itself.
_DENIED_ACTIONS = frozenset({sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH})


@dataclass(frozen=True)
class Catalog:
    """The database with the ObsCore table.

    Parameters
    ----------
    aliases
        Tables under further names.
    """

    engine: Engine
    aliases: tuple[TableSchema, ...] = ()
    translations: TranslationCache = field(init=False)
    _storage_seen: list[bool] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        tables = (*TABLES, *self.aliases)
        object.__setattr__(self, "translations", TranslationCache(tables, self.kind))

    @property
    def kind(self) -> Literal["sqlite", "postgresql"]:
        """Name of the database."""
        return cast("Literal['sqlite', 'postgresql']", self.engine.dialect.name)

    def translate(
        self, adql: str, max_rows: int, uploads: tuple[UploadedTable, ...] = ()
    ) -> Translation:
        """Translate a query for this database; one row more shows that there are more."""
        if not uploads:
            return self.translations.translate(adql, max_rows + 1)
        tables = (*TABLES, *self.aliases, *(upload.schema for upload in uploads))
        translation = translate(adql, tables, self.kind, max_rows=max_rows + 1)
        return replace(translation, uploads=uploads)

    def rows(
        self,
        translation: Translation,
        limits: Limits,
        views: Mapping[str, str] = MappingProxyType({}),
        *,
        service: str = "",
    ) -> Generator[Sequence[tuple[Any, ...]]]:
        """Run a query and yield its rows in batches; the first `next` runs it.

        Parameters
        ----------
        views
            By name of a table, what follows it in a FROM clause that gives those of its rows that
            the query may see.
        service
            URL this service is reached under: access URLs begin with it.

        Raises
        ------
        UsageError
            The database refuses the query.
        QueryTimeoutError
            It took too long, or was cancelled.
        """
        deadline = time.monotonic() + limits.seconds
        sql = as_seen(translation.sql, self.kind, views)
        parameters = {**translation.parameters, SERVICE: service}
        with (
            named_errors(limits, self.engine),
            self.engine.connect() as connection,
            self._reading(connection, deadline, limits.cancelled, translation.uploads),
            closing(_executed(connection, sql, parameters)) as found,
        ):
            while batch := list(islice(found, _BATCH)):
                yield batch
                if time.monotonic() > deadline or is_set(limits.cancelled):
                    raise QueryTimeoutError(timeout_message(limits))

    def select(
        self,
        sql: str,
        values: Mapping[str, Any],
        limits: Limits,
        views: Mapping[str, str] = MappingProxyType({}),
    ) -> Sequence[Mapping[str, Any]]:
        """Run a statement of our own and return its rows, by column.

        Parameters
        ----------
        sql
            With ``:name`` for values; a table whose name stands in quotes is its view.
        views
            As of `rows`.

        Raises
        ------
        QueryTimeoutError
            It took too long.
        """
        # In text a colon before a word is a value's place.
        plain = {name: view.replace(":", "\\:") for name, view in views.items()}
        deadline = time.monotonic() + limits.seconds
        with (
            named_errors(limits, self.engine),
            self.engine.connect() as connection,
            self._reading(connection, deadline, limits.cancelled, ()),
        ):
            statement = text(as_seen(sql, self.kind, plain, escaped=True))
            result = connection.execute(statement, values)
            names = tuple(result.keys())
            # Twice as fast as mappings, of which there are ten thousand to a night.
            return [dict(zip(names, row, strict=True)) for row in result.all()]

    def datasets(
        self, name: Literal["obs_publisher_did", "dataset_id"], values: Sequence[str]
    ) -> Mapping[str, Mapping[str, Any]]:
        """Return the rows of datasets by that name in one statement.

        With what is not public, and how each file is stored (`image_storage`).
        """
        with self.engine.connect() as connection:
            return datasets(connection, name, values, storage=self._knows_storage(connection))

    def _knows_storage(self, connection: Connection) -> bool:
        # Asked until it is there: the consumer may be brought up to date after us.
        if not self._storage_seen:
            self._storage_seen.extend([True] if has_storage(connection) else [])
        return bool(self._storage_seen)

    def related(self, dataset_ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """Return name, file and rights of those of these datasets that have rows."""
        with self.engine.connect() as connection:
            return related(connection, dataset_ids)

    def check(self) -> None:
        """Ask the database for nothing; raises `SQLAlchemyError` when it does not answer."""
        with self.engine.connect() as connection:
            connection.execute(select(obscore.c.row_id).limit(1))

    @contextmanager
    def _reading(
        self,
        connection: Connection,
        deadline: float,
        cancelled: Cancellation | None,
        uploads: Sequence[UploadedTable],
    ) -> Iterator[None]:
        """Set the limits of one query, and bring its tables."""
        if self.kind == "postgresql":
            milliseconds = max(1, int((deadline - time.monotonic()) * 1000))
            with (
                reading(connection, milliseconds, uploads) as cancel,
                cancelled.calling(cancel) if cancelled else nullcontext(),
            ):
                yield
            return
        file = cast("sqlite3.Connection", connection.connection.driver_connection)
        file.set_progress_handler(
            lambda: int(time.monotonic() > deadline or is_set(cancelled)), 2_000
        )
        try:
            with sqlite_tables(connection, uploads):
                yield
        finally:
            file.set_progress_handler(None, 0)


def open_catalog(url: str, connections: int, aliases: tuple[TableSchema, ...] = ()) -> Catalog:
    """Open the catalog for reading; the database must exist.

    Parameters
    ----------
    connections
        Most connections at once.
    aliases
        Tables under further names.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        require_for(url)
        return Catalog(open_postgres(url, connections), aliases)
    path = parsed.database or ""
    read_only = {"mode": "ro", "uri": "true"}
    engine = create_engine(
        URL.create("sqlite", database=f"file:{quote(path)}", query=read_only),
        pool_size=connections,
        max_overflow=connections,
        connect_args={"timeout": 30.0, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        # As PostgreSQL: LIKE looks at case. Nothing can be written.
        connection.execute("PRAGMA case_sensitive_like = ON")
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA cache_size = -65536")
        register_functions(connection)
        connection.set_authorizer(
            lambda action, *_: (
                sqlite3.SQLITE_DENY if action in _DENIED_ACTIONS else sqlite3.SQLITE_OK
            )
        )

    return Catalog(engine, aliases)


def _executed(
    connection: Connection, sql: str, parameters: dict[str, float | str]
) -> Generator[tuple[Any, ...]]:
    """Run a statement by the driver itself: SQLAlchemy's results cost more than the query."""
    if connection.dialect.name == "postgresql":
        return streamed(connection, sql, parameters)
    file = cast("sqlite3.Connection", connection.connection.driver_connection)
    return _all_of(file, sql, parameters)


def _all_of(
    file: sqlite3.Connection, sql: str, parameters: dict[str, float | str]
) -> Generator[tuple[Any, ...]]:
    with closing(file.cursor()) as cursor:
        yield from cursor.execute(sql, parameters)
