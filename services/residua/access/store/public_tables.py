"""The tables clients may query: ``ivoa.ObsCore``, our own, and TAP_SCHEMA."""

from dataclasses import replace

from residua.access.adql import ColumnSchema, TableSchema
from residua.access.adql.queryable import Kind
from residua.access.store.tap_schema import TAP_SCHEMA_TABLES, Record, loaded_tap_schema
from residua.obscore.spatial import DETECTIONS_RTREE, PLAN_RTREE

__all__ = [
    "DIA_SOURCE",
    "KEYS",
    "OBSCORE",
    "OBSPLAN",
    "SCHEMAS",
    "TABLES",
    "VISIT_DETECTOR",
    "renamed",
]

_KINDS: dict[str, Kind] = {
    "char": "text", "unicodeChar": "text", "int": "int", "long": "long", "double": "double",
}  # fmt: skip
_RECORDS = loaded_tap_schema()


def _column(record: Record) -> ColumnSchema:
    arraysize = str(record["arraysize"] or "")
    length = arraysize.removesuffix("*")
    shown = str(record["column_name"]).strip('"')
    return ColumnSchema(
        shown.lower(),
        _KINDS[str(record["datatype"])],
        length=int(length) if length else None,
        unit=_text(record["unit"]),
        ucd=_text(record["ucd"]),
        utype=_text(record["utype"]),
        description=_text(record["description"]) or "",
        std=bool(record["std"]),
        principal=bool(record["principal"]),
        indexed=bool(record["indexed"]),
        unicode=record["datatype"] == "unicodeChar",
        region=shown == "s_region",
        display=shown if shown != shown.lower() else None,
    )


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _columns(table_name: str) -> tuple[ColumnSchema, ...]:
    found = [r for r in _RECORDS["columns"] if r["table_name"] == table_name]
    return tuple(map(_column, found))


def _record(table_name: str) -> Record:
    [found] = [r for r in _RECORDS["tables"] if r["table_name"] == table_name]
    return found


def _obscore() -> TableSchema:
    record = _record("ivoa.ObsCore")
    return TableSchema(
        "ivoa",
        "ObsCore",
        "obscore",
        _columns("ivoa.ObsCore"),
        description=str(record["description"]),
        utype=_text(record["utype"]),
        region="s_region",
        position=("s_ra", "s_dec"),
    )


def _obsplan() -> TableSchema:
    record = _record("ivoa.obsplan")
    return TableSchema(
        "ivoa",
        "obsplan",
        "obsplan",
        _columns("ivoa.obsplan"),
        description=str(record["description"]),
        utype=_text(record["utype"]),
        region="s_region",
        position=("s_ra", "s_dec"),
        rtree=PLAN_RTREE,
    )


def _own(name: str, position: tuple[str, str] | None = None) -> TableSchema:
    full_name = f"residua.{name}"
    return TableSchema(
        "residua",
        name,
        name,
        _columns(full_name),
        description=str(_record(full_name)["description"]),
        position=position,
        rtree=DETECTIONS_RTREE,
    )


def renamed(table: TableSchema, full_name: str) -> TableSchema:
    """Return a table under another name, as ``dp1.DiaSource``; raises `ValueError`."""
    schema, _, name = full_name.partition(".")
    if not (schema.isidentifier() and name.isidentifier()):
        raise ValueError(f"{full_name!r} is not the name of a table: give SCHEMA.TABLE")
    return replace(table, schema=schema, name=name)


def _tap_schema(name: str) -> TableSchema:
    full_name = f"tap_schema.{name}"
    columns = _columns(full_name)
    return TableSchema(
        "tap_schema",
        name,
        f"residua_tap_{name}",
        columns,
        description=str(_record(full_name)["description"]),
        rows=tuple(tuple(r[c.name] for c in columns) for r in _RECORDS[name]),
    )


OBSCORE = _obscore()
"""The ObsCore table."""

OBSPLAN = _obsplan()
"""What is planned, and what has arrived."""

SCHEMAS = {str(r["schema_name"]): str(r["description"]) for r in _RECORDS["schemas"]}
"""Descriptions of the schemas by name."""

KEYS: tuple[tuple[str, str, str, str, str], ...] = tuple(
    (
        str(key["key_id"]),
        str(key["from_table"]),
        str(key["target_table"]),
        str(pair["from_column"]),
        str(pair["target_column"]),
    )
    for key in _RECORDS["keys"]
    for pair in _RECORDS["key_columns"]
    if pair["key_id"] == key["key_id"]
)
"""Foreign keys: id, from table, target table, from column, target column."""

DIA_SOURCE = _own("dia_source", ("ra", "dec"))
"""The detections."""

VISIT_DETECTOR = _own("visit_detector")
"""What became of each visit-detector."""

TABLES: tuple[TableSchema, ...] = (
    OBSCORE,
    DIA_SOURCE,
    VISIT_DETECTOR,
    OBSPLAN,
    *map(_tap_schema, TAP_SCHEMA_TABLES),
)
"""Everything that can be queried."""
