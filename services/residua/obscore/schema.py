"""The public columns of ObsCore, read from their felis schema beside this file."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, cast

import yaml

__all__ = ["OBSCORE_COLUMNS", "SCHEMA_FILE", "ObsCoreColumn", "obscore_columns"]

type Datatype = Literal["string", "unicode", "text", "int", "long", "double"]

SCHEMA_FILE = files("residua.obscore") / "ivoa_obscore.yaml"
"""The schema, as ``felis validate`` and ``felis load-tap-schema`` take it."""


@dataclass(frozen=True)
class ObsCoreColumn:
    """What the database must know of a column; felis reads the rest for TAP_SCHEMA."""

    name: str
    datatype: Datatype
    nullable: bool
    description: str


def obscore_columns() -> tuple[ObsCoreColumn, ...]:
    """Read the columns, in the order of the schema."""
    document = cast("dict[str, Any]", yaml.safe_load(SCHEMA_FILE.read_text(encoding="utf-8")))
    [table] = document["tables"]
    return tuple(
        ObsCoreColumn(c["name"], c["datatype"], c.get("nullable", True), c["description"])
        for c in table["columns"]
    )


OBSCORE_COLUMNS: tuple[str, ...] = tuple(column.name for column in obscore_columns())
"""Names of the public columns, in the order of the schema."""
