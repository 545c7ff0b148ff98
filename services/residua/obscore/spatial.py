"""Spatial indexes of the ObsCore table, kept by the database itself.

Whoever writes a row knows nothing of them. On PostgreSQL with pgsphere: a generated column
``s_region_spoly``, and GiST indexes on the bounding circle and on the position. On SQLite: an
R*Tree over the Cartesian bounding boxes of the footprints. Neither RA 0/360 nor the poles are
special.

An index on ``s_region_spoly`` itself costs 80 us a row, that on the bounding circle 5 us; the few
rows whose circle meets a region and whose footprint does not are told apart by the polygon.
"""

import math
from collections.abc import Sequence

from sqlalchemy import Connection

from residua.obscore.postgres_functions import function_ddl

__all__ = [
    "DETECTIONS_RTREE",
    "PLAN_RTREE",
    "RTREE_TABLE",
    "SPOLY_COLUMN",
    "SPOLY_FUNCTION",
    "bounds_sql",
    "database_functions",
    "detections_ddl",
    "plan_ddl",
    "spatial_ddl",
]

RTREE_TABLE = "obscore_rtree"
"""SQLite: columns row_id, x0, x1, y0, y1, z0, z1 of the unit sphere."""

DETECTIONS_RTREE = "dia_source_rtree"
"""SQLite: the same of the positions of detections."""

PLAN_RTREE = "obsplan_rtree"
"""SQLite: the same of plans and arrivals."""

SPOLY_COLUMN = "s_region_spoly"
"""PostgreSQL: the footprint as pgsphere's ``spoly``."""

SPOLY_FUNCTION = "residua_spoly"
"""PostgreSQL: from ``POLYGON ICRS ra dec ...`` (degrees) to ``spoly``."""

# 6 decimals of s_region and 32 bit floats of the R*Tree must not lose a border case.
_MARGIN = 1e-6


def bounds_sql() -> str:
    """PostgreSQL: the circle around a row's footprint, as the index has it."""
    # pgsphere knows no circle wider than half the sky.
    radius = f"least(radians(s_fov * 0.5) + {_MARGIN:.6f}, {math.pi / 2.0})"
    return f"scircle(spoint(radians(s_ra), radians(s_dec)), {radius})"


def spatial_ddl(connection: Connection) -> Sequence[str]:
    """Statements that build the indexes on this connection's database; may be run again."""
    if connection.dialect.name == "sqlite":
        return _sqlite()
    if connection.dialect.name == "postgresql":
        return _postgresql() if _has_pgsphere(connection) else ()
    return ()


def plan_ddl(connection: Connection) -> Sequence[str]:
    """Statements that build the same indexes of plans and arrivals; may be run again."""
    if connection.dialect.name == "sqlite":
        return _sqlite("obsplan", PLAN_RTREE)
    if connection.dialect.name == "postgresql" and _has_pgsphere(connection):
        return _indexed_regions("obsplan")
    return ()


def detections_ddl(connection: Connection) -> Sequence[str]:
    """Statements that build the index of the detections' positions; may be run again."""
    if connection.dialect.name == "postgresql" and _has_pgsphere(connection):
        return (
            """
            CREATE INDEX IF NOT EXISTS dia_source_point ON dia_source
            USING gist (spoint(radians(ra), radians("dec")))
            """,
        )
    if connection.dialect.name != "sqlite":
        return ()
    place = (
        'cos(radians(new."dec")) * cos(radians(new.ra))',
        'cos(radians(new."dec")) * sin(radians(new.ra))',
        'sin(radians(new."dec"))',
    )
    bounds = ", ".join(f"{c} - {_MARGIN}, {c} + {_MARGIN}" for c in place)
    columns = "row_id, x0, x1, y0, y1, z0, z1"
    added = (
        f"INSERT INTO {DETECTIONS_RTREE} ({columns}) SELECT new.row_id, {bounds} "
        'WHERE new.ra IS NOT NULL AND new."dec" IS NOT NULL;'
    )
    removed = f"DELETE FROM {DETECTIONS_RTREE} WHERE row_id = old.row_id;"  # noqa: S608 our own words
    trigger = f"CREATE TRIGGER IF NOT EXISTS {DETECTIONS_RTREE}"
    return (
        f"CREATE VIRTUAL TABLE IF NOT EXISTS {DETECTIONS_RTREE} USING rtree ({columns})",
        f"{trigger}_insert AFTER INSERT ON dia_source BEGIN {added} END",
        f"{trigger}_delete AFTER DELETE ON dia_source BEGIN {removed} END",
    )


def database_functions(connection: Connection) -> Sequence[str]:
    """Statements that create what queries call in this connection's database."""
    if connection.dialect.name != "postgresql":
        return ()
    return function_ddl(spatial=_has_pgsphere(connection))


def _has_pgsphere(connection: Connection) -> bool:
    found = connection.exec_driver_sql(
        "SELECT 1 FROM pg_available_extensions WHERE name = 'pg_sphere'"
    )
    return found.first() is not None


def _postgresql() -> Sequence[str]:
    return (
        "CREATE EXTENSION IF NOT EXISTS pg_sphere",
        f"""
        CREATE OR REPLACE FUNCTION {SPOLY_FUNCTION}(region text) RETURNS spoly
        LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
          SELECT CASE WHEN region ~* '^\\s*POLYGON\\s' THEN
            ('{{' || regexp_replace(
               regexp_replace(btrim(regexp_replace(region, '^\\s*POLYGON\\s+(ICRS\\s+)?', '', 'i')),
                              '(\\S+)\\s+(\\S+)', '(\\1d,\\2d)', 'g'),
               '\\)\\s+\\(', '),(', 'g') || '}}')::spoly
          END
        $$
        """,
        *_indexed_regions("obscore"),
        # Catalogs of version 0001 have it. The last, so that its lock is short.
        "DROP INDEX IF EXISTS obscore_region",
    )


def _indexed_regions(table: str) -> Sequence[str]:
    return (
        f"""
        ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {SPOLY_COLUMN} spoly
        GENERATED ALWAYS AS ({SPOLY_FUNCTION}(s_region)) STORED
        """,
        f"CREATE INDEX IF NOT EXISTS {table}_bounds ON {table} USING gist ({bounds_sql()})",
        f"""
        CREATE INDEX IF NOT EXISTS {table}_point ON {table}
        USING gist (spoint(radians(s_ra), radians(s_dec)))
        """,
    )


def _sqlite(table: str = "obscore", rtree: str = RTREE_TABLE) -> Sequence[str]:
    direction = {
        "x": "cos(radians(new.s_dec)) * cos(radians(new.s_ra))",
        "y": "cos(radians(new.s_dec)) * sin(radians(new.s_ra))",
        "z": "sin(radians(new.s_dec))",
    }
    # The cap of radius s_fov / 2 lies within this chord of its centre. Unknown size: everywhere.
    chord = f"(2.0 * sin(radians(min(coalesce(new.s_fov, 360.0), 360.0) / 4.0)) + {_MARGIN})"
    bounds = ", ".join(f"{c} - {chord}, {c} + {chord}" for c in direction.values())
    columns = "row_id, x0, x1, y0, y1, z0, z1"
    remove = f"DELETE FROM {rtree} WHERE row_id = old.row_id;"  # noqa: S608 our own words
    add = (
        f"INSERT INTO {rtree} ({columns}) SELECT new.row_id, {bounds} "
        "WHERE new.s_ra IS NOT NULL AND new.s_dec IS NOT NULL;"
    )
    triggers = {
        "insert": f"AFTER INSERT ON {table} BEGIN {add} END",
        "update": f"AFTER UPDATE OF s_ra, s_dec, s_fov ON {table} BEGIN {remove} {add} END",
        "delete": f"AFTER DELETE ON {table} BEGIN {remove} END",
    }
    return (
        f"CREATE VIRTUAL TABLE IF NOT EXISTS {rtree} USING rtree ({columns})",
        *(
            f"CREATE TRIGGER IF NOT EXISTS {rtree}_{name} {trigger}"
            for name, trigger in triggers.items()
        ),
    )
