"""Bringing the catalog's database to the newest version of its tables.

``python -m residua.obscore.migrate postgresql+psycopg://user@host/database``
"""

import sys

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from residua.errors import TransientError
from residua.extras import require_for
from residua.obscore.opening import in_one_line, shown

__all__ = ["current_version", "main", "upgrade"]

_FIRST = "0001"
_LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL's code of an elapsed lock_timeout."""


def upgrade(url: str, version: str = "head", *, lock_seconds: float = 10.0) -> None:
    """Upgrade a database; one whose tables were created without alembic is taken as the first.

    All versions between are one transaction. On PostgreSQL it does not wait long for a table that
    a query holds: whoever came after it would wait, too.

    Parameters
    ----------
    url
        SQLAlchemy URL; the role must be allowed to create tables, and on PostgreSQL the
        extension ``pg_sphere`` unless it is there.
    version
        Version to reach.
    lock_seconds
        Wait so long for each lock on PostgreSQL.

    Raises
    ------
    sqlalchemy.exc.SQLAlchemyError
        It is no such URL, or the database does not answer.
    residua.errors.TransientError
        A query holds a table for longer; nothing has changed.
    """
    require_for(url)
    if make_url(url).get_backend_name() not in {"postgresql", "sqlite"}:
        raise ArgumentError(f"{shown(url)} is of another database")
    config = _config(url)
    config.attributes["lock_seconds"] = lock_seconds
    if current_version(url) is None and _has_tables(url):
        command.stamp(config, _FIRST)
    try:
        command.upgrade(config, version)
    except OperationalError as e:
        if getattr(e.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        raise TransientError(
            f"a query has held a table of the catalog for {lock_seconds:g} s: nothing was changed; "
            "migrate again, or end the query first (pg_stat_activity shows it)"
        ) from e


def current_version(url: str) -> str | None:
    """Return the version of a database; `None` if alembic was never there."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def main() -> int:
    """Upgrade the database named on the command line; what is wrong with it is one line."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)  # noqa: T201 for a person
        return 2
    url = sys.argv[1]
    try:
        upgrade(url)
        version = current_version(url)
    except (SQLAlchemyError, CommandError, TransientError) as e:
        print(f"residua: {shown(url)}: {in_one_line(e)}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"the catalog is at version {version}")  # noqa: T201
    return 0


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", "residua.obscore:migrations")
    # Alembic reads % as the start of a variable.
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def _has_tables(url: str) -> bool:
    engine = create_engine(url)
    try:
        return inspect(engine).has_table("obscore")
    finally:
        engine.dispose()


if __name__ == "__main__":
    sys.exit(main())
