"""TAP_SCHEMA is what felis says of the ObsCore schema, and the database has what it says."""

from importlib.resources import as_file

from felis import Schema
from sqlalchemy import BigInteger, Double, Integer, Text

from residua.access.store.public_tables import OBSCORE, TABLES
from residua.access.store.tap_schema import felis_tap_schema, loaded_tap_schema
from residua.obscore import COMPUTED_COLUMNS, OBSCORE_COLUMNS, obscore
from residua.obscore.indexes import INDEXES
from residua.obscore.schema import SCHEMA_FILE

TYPES = {"text": Text, "int": Integer, "long": BigInteger, "double": Double}


def test_every_column_has_a_ucd_a_description_and_if_standard_a_utype():
    assert [c.name for c in OBSCORE.columns] == list(OBSCORE_COLUMNS)
    for column in OBSCORE.columns:
        assert column.ucd, column.name
        assert column.description, column.name
        if column.name.startswith("lsst_"):
            assert not column.std, column.name
        elif column.name != "dataproduct_subtype":
            assert column.utype.startswith("obscore:"), column.name


def test_the_database_has_the_types_that_are_declared():
    for column in OBSCORE.columns:
        if column.name in COMPUTED_COLUMNS:
            assert column.name not in obscore.c
            continue
        stored = obscore.c[column.name]
        assert type(stored.type) is TYPES[column.kind], column.name
        assert stored.comment == column.description


def test_indexed_columns_are_in_an_index_of_the_table():
    indexed = {c.name for index in obscore.indexes for c in index.columns} | {"s_region"}
    indexed |= {column for columns in INDEXES.values() for column in columns}
    assert {c.name for c in OBSCORE.columns if c.indexed} <= indexed


def test_the_schema_is_valid_felis_with_controlled_ucds_and_units():
    with as_file(SCHEMA_FILE) as path:
        context = {"id_generation": True, "check_description": True, "check_tap_principal": True}
        schema = Schema.from_uri(str(path), context=context)
    utypes = {table.name: table.votable_utype for table in schema.tables}
    assert utypes == {
        "ObsCore": "ivo://ivoa.net/std/ObsCore#core-1.1",
        "obsplan": "ivo://ivoa.net/std/obsloctap#table-1.0",
    }


def test_what_is_kept_is_what_felis_makes():
    """Else: ``python -m residua.access.store.tap_schema``, and read the difference."""
    assert loaded_tap_schema() == felis_tap_schema()


def test_tap_schema_describes_itself_and_everything_offered():
    records = loaded_tap_schema()
    names = {(r["schema_name"], r["table_name"]) for r in records["tables"]}
    assert names == {(t.schema, t.full_name) for t in TABLES}
    columns = {(r["table_name"], r["column_name"].strip('"').lower()) for r in records["columns"]}
    assert columns == {(t.full_name, c.name) for t in TABLES for c in t.columns}
    for table in (t for t in TABLES if t.rows is not None):
        assert [dict(zip([c.name for c in table.columns], row, strict=True))
                for row in table.rows] == list(records[table.name])  # fmt: skip
