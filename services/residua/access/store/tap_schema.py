"""TAP_SCHEMA, as felis fills it from the felis schemas of our tables.

felis creates the five standard tables in a database in memory, describes them, and loads the
schema. Its rows are kept in a file beside this module, because felis loads astropy and takes two
seconds, for which the service would wait at every start; a test compares them. After a change of
the schemas: ``python -m residua.access.store.tap_schema``.

They are not stored in the catalog: they travel within each query that asks for them, so that they
can never differ from what is offered, and a role that may only read the catalog is enough.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path

from sqlalchemy import select

from residua.obscore.schema import SCHEMA_FILE, TABLES_FILE

__all__ = ["TAP_SCHEMA_TABLES", "Record", "felis_tap_schema", "loaded_tap_schema"]

type Record = Mapping[str, str | int | None]

TAP_SCHEMA_TABLES = ("schemas", "tables", "columns", "keys", "key_columns")
"""Names of the tables, without their schema."""

# What tables are listed by.
_ORDER = {
    "schemas": ("schema_index",),
    "tables": ("table_index",),
    "columns": ("table_name", "column_index"),
    "keys": ("key_id",),
    "key_columns": ("key_id",),
}


_FILE = "tap_schema.json"


def loaded_tap_schema() -> Mapping[str, Sequence[Record]]:
    """Return the rows of every table of TAP_SCHEMA, by the table's name."""
    kept = (files("residua.access.store") / _FILE).read_text(encoding="utf-8")
    found: Mapping[str, Sequence[Record]] = json.loads(kept)
    return found


def felis_tap_schema() -> Mapping[str, Sequence[Record]]:
    """Return them as felis makes them of the schemas."""
    from felis import Schema
    from felis.db.database_context import create_database_context
    from felis.tap_schema import DataLoader, MetadataInserter, TableManager

    schemas = []
    for file in (SCHEMA_FILE, TABLES_FILE):
        with as_file(file) as path:
            schemas.append(Schema.from_uri(str(path), context={"id_generation": True}))
    manager = TableManager()
    url = "sqlite:///:memory:"
    with create_database_context(url, manager.metadata) as context:
        manager.initialize_database(context)
        MetadataInserter(manager, context).insert_metadata()
        for schema in schemas:
            DataLoader(schema, manager, context).load()
        with context.engine.connect() as connection:
            result = {}
            for name in TAP_SCHEMA_TABLES:
                table = manager[name]
                query = select(table).order_by(*(table.c[column] for column in _ORDER[name]))
                result[name] = [dict(row) for row in connection.execute(query).mappings()]
    return result


def _write(path: Path) -> None:
    """Write the rows, one a line, so that a change can be read."""
    tables = []
    for name, rows in felis_tap_schema().items():
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        tables.append(f'"{name}": [\n{lines}\n]')
    path.write_text("{\n" + ",\n".join(tables) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    _write(Path(__file__).with_name(_FILE))
