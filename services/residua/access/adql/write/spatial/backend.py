"""Spatial SQL of the two databases."""

from collections.abc import Callable
from typing import Literal

from residua.access.adql.write.spatial.expressions import Backend
from residua.access.adql.write.spatial.postgres_backend import PostgresBackend
from residua.access.adql.write.spatial.sqlite_backend import SqliteBackend

__all__ = ["BACKENDS"]

BACKENDS: dict[Literal["sqlite", "postgresql"], Callable[[], Backend]] = {
    "sqlite": SqliteBackend,
    "postgresql": PostgresBackend,
}
"""By name of the SQLAlchemy dialect; a new one for each statement."""
