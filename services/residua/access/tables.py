"""The tables clients may query: ``ivoa.ObsCore`` and TAP_SCHEMA, which describes them.

TAP_SCHEMA is not stored: its few rows travel within each query that asks for them, so that they
can never differ from what is offered.
"""

from residua.access.adql import ColumnSchema, TableSchema
from residua.access.adql.schema import Kind
from residua.obscore import OBSCORE_COLUMNS, obscore

__all__ = ["KEYS", "OBSCORE", "SCHEMAS", "TABLES"]

_PRINCIPAL = frozenset(
    {"dataproduct_subtype", "calib_level", "obs_id", "obs_title", "obs_publisher_did",
     "access_url", "s_ra", "s_dec", "t_min", "t_exptime", "lsst_visit", "lsst_detector",
     "lsst_band"}
)  # fmt: skip
_INDEXED = frozenset(
    {"obs_publisher_did", "s_ra", "s_dec", "s_region", "t_min", "lsst_visit", "instrument_name"}
)
_KINDS: dict[str, Kind] = {
    "text": "text", "clob": "text", "int": "int", "long": "long", "double": "double",
}  # fmt: skip


def _obscore_column(name: str) -> ColumnSchema:
    column = obscore.c[name]
    info = column.info
    utype = info["utype"]
    return ColumnSchema(
        name,
        _KINDS[info["kind"]],
        length=info["length"],
        unit=info["unit"],
        ucd=info["ucd"],
        utype=f"obscore:{utype}" if utype else None,
        description=column.comment or "",
        std=not name.startswith("lsst_"),
        principal=name in _PRINCIPAL,
        indexed=name in _INDEXED,
    )


OBSCORE = TableSchema(
    "ivoa",
    "ObsCore",
    "obscore",
    tuple(_obscore_column(name) for name in OBSCORE_COLUMNS),
    description="Difference images and template coadds, as observations",
    utype="ivo://ivoa.net/std/ObsCore#core-1.1",
    region="s_region",
    position=("s_ra", "s_dec"),
)
"""The ObsCore table."""

SCHEMAS = {
    "ivoa": "Tables of the IVOA",
    "tap_schema": "What can be queried here",
}
"""Descriptions of the schemas by name."""


def _text(name: str, description: str) -> ColumnSchema:
    return ColumnSchema(name, "text", description=description)


def _int(name: str, description: str) -> ColumnSchema:
    return ColumnSchema(name, "int", description=description)


_STRUCTURE: dict[str, tuple[str, tuple[ColumnSchema, ...]]] = {
    "schemas": (
        "Schemas",
        (
            _text("schema_name", "Name of the schema"),
            _text("utype", "Utype"),
            _text("description", "Description"),
            _int("schema_index", "Suggested order"),
        ),
    ),
    "tables": (
        "Tables",
        (
            _text("schema_name", "Name of the schema"),
            _text("table_name", "Name with the schema, as in queries"),
            _text("table_type", "table or view"),
            _text("utype", "Utype"),
            _text("description", "Description"),
            _int("table_index", "Suggested order"),
        ),
    ),
    "columns": (
        "Columns",
        (
            _text("table_name", "Table the column belongs to"),
            _text("column_name", "Name"),
            _text("datatype", "VOTable datatype"),
            _text("arraysize", "VOTable arraysize"),
            _text("xtype", "VOTable xtype"),
            ColumnSchema("size", "int", description="Length of texts; deprecated"),
            _text("description", "Description"),
            _text("utype", "Utype"),
            _text("unit", "Unit"),
            _text("ucd", "UCD"),
            _int("indexed", "1 if an index helps"),
            _int("principal", "1 if part of a short display"),
            _int("std", "1 if a standard defines it"),
            _int("column_index", "Suggested order"),
        ),
    ),
    "keys": (
        "Foreign keys",
        (
            _text("key_id", "Name of the key"),
            _text("from_table", "Table that refers"),
            _text("target_table", "Table referred to"),
            _text("description", "Description"),
            _text("utype", "Utype"),
        ),
    ),
    "key_columns": (
        "Columns of foreign keys",
        (
            _text("key_id", "Name of the key"),
            _text("from_column", "Column that refers"),
            _text("target_column", "Column referred to"),
        ),
    ),
}

KEYS: tuple[tuple[str, str, str, str, str], ...] = (
    ("k1", "tap_schema.tables", "tap_schema.schemas", "schema_name", "schema_name"),
    ("k2", "tap_schema.columns", "tap_schema.tables", "table_name", "table_name"),
    ("k3", "tap_schema.keys", "tap_schema.tables", "from_table", "table_name"),
    ("k4", "tap_schema.keys", "tap_schema.tables", "target_table", "table_name"),
    ("k5", "tap_schema.key_columns", "tap_schema.keys", "key_id", "key_id"),
)
"""Foreign keys: id, from table, target table, from column, target column."""

type _Row = tuple[str | int | None, ...]


def _rows(tables: tuple[TableSchema, ...]) -> dict[str, tuple[_Row, ...]]:
    return {
        "schemas": tuple(
            (name, None, description, i) for i, (name, description) in enumerate(SCHEMAS.items())
        ),
        "tables": tuple(
            (t.schema, t.full_name, "table", t.utype, t.description, i)
            for i, t in enumerate(tables)
        ),
        "columns": tuple(_column_row(t, c, i) for t in tables for i, c in enumerate(t.columns)),
        "keys": tuple((k[0], k[1], k[2], None, None) for k in KEYS),
        "key_columns": tuple((k[0], k[3], k[4]) for k in KEYS),
    }


def _column_row(table: TableSchema, column: ColumnSchema, index: int) -> _Row:
    is_text = column.kind == "text"
    return (
        table.full_name,
        column.delimited_name,
        "char" if is_text else column.kind,
        column.arraysize if is_text else None,
        None,
        column.length,
        column.description,
        column.utype,
        column.unit,
        column.ucd,
        int(column.indexed),
        int(column.principal),
        int(column.std),
        index,
    )


def _tap_schema() -> tuple[TableSchema, ...]:
    empty = tuple(
        TableSchema("tap_schema", name, f"residua_tap_{name}", columns, description)
        for name, (description, columns) in _STRUCTURE.items()
    )
    rows = _rows((OBSCORE, *empty))
    return tuple(
        TableSchema(t.schema, t.name, t.sql, t.columns, t.description, rows=rows[t.name])
        for t in empty
    )


TABLES: tuple[TableSchema, ...] = (OBSCORE, *_tap_schema())
"""Everything that can be queried."""
