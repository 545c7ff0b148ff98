"""The public columns of all tables, read from their felis schemas beside this file."""

from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Literal, cast

import yaml

try:
    from yaml import CSafeLoader as _Loader
except ImportError:
    # A yaml without its C library reads the same, in a second.
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

__all__ = [
    "COMPUTED_COLUMNS",
    "OBSCORE_COLUMNS",
    "SCHEMA_FILE",
    "TABLES_FILE",
    "ObsCoreColumn",
    "obscore_columns",
    "table_columns",
]

type Datatype = Literal["string", "unicode", "text", "int", "long", "double"]

SCHEMA_FILE = files("residua.obscore") / "ivoa_obscore.yaml"
"""The schema of ObsCore, as ``felis validate`` and ``felis load-tap-schema`` take it."""

TABLES_FILE = files("residua.obscore") / "residua_tables.yaml"
"""The same of the tables of our own: ``dia_source`` and ``visit_detector``."""


@dataclass(frozen=True)
class ObsCoreColumn:
    """What the database must know of a column; felis reads the rest for TAP_SCHEMA."""

    name: str
    datatype: Datatype
    nullable: bool
    description: str


def obscore_columns() -> tuple[ObsCoreColumn, ...]:
    """Read the columns, in the order of the schema."""
    return table_columns(SCHEMA_FILE, "ObsCore")


def table_columns(file: Traversable, name: str) -> tuple[ObsCoreColumn, ...]:
    """Read the columns of a table of a felis schema, in their order."""
    # Both are safe loaders.
    document = cast("dict[str, Any]", yaml.load(file.read_text(encoding="utf-8"), _Loader))
    [table] = [table for table in document["tables"] if table["name"] == name]
    return tuple(
        ObsCoreColumn(c["name"], c["datatype"], c.get("nullable", True), c["description"])
        for c in table["columns"]
    )


OBSCORE_COLUMNS: tuple[str, ...] = tuple(column.name for column in obscore_columns())
"""Names of the public columns, in the order of the schema."""

COMPUTED_COLUMNS = frozenset({"access_url"})
"""Those of them that are not stored: only who serves the catalog knows the address."""
