"""Spatial SQL of the two databases."""

from typing import Literal

from residua.access.adql.expressions import Backend
from residua.access.adql.postgres_backend import PostgresBackend
from residua.access.adql.sqlite_backend import SqliteBackend

__all__ = ["BACKENDS"]

BACKENDS: dict[Literal["sqlite", "postgresql"], Backend] = {
    "sqlite": SqliteBackend(),
    "postgresql": PostgresBackend(),
}
"""By name of the SQLAlchemy dialect."""
