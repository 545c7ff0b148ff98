"""Indexes that the queries of dashboards and notebooks are sorted and found by.

NULL is less than every value in the answers of both databases. SQLite's indexes are in that order;
PostgreSQL's must say so, or no query with ORDER BY can use them.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

__all__ = ["INDEXES", "index_ddl"]

INDEXES = {
    "obscore_newest": ("t_min",),
    "obscore_band_newest": ("lsst_band", "t_min"),
    "obscore_lsst_visit": ("lsst_visit", "lsst_detector", "instrument_name"),
}
"""Columns by name."""


def index_ddl(connection: Connection) -> Sequence[str]:
    """Statements that create the indexes, and drop those they replace; may be run again."""
    nulls = " NULLS FIRST" if connection.dialect.name == "postgresql" else ""
    return (
        *(
            f"CREATE INDEX IF NOT EXISTS {name} ON obscore "
            f"({', '.join(f'{column}{nulls}' for column in columns)})"
            for name, columns in INDEXES.items()
        ),
        # Of versions before 0003.
        "DROP INDEX IF EXISTS obscore_time",
        "DROP INDEX IF EXISTS obscore_visit",
    )
