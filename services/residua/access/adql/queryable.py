"""What may be queried: tables and columns, with their meaning for VO clients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["ColumnSchema", "Kind", "TableSchema", "UploadedTable"]

type Kind = Literal["text", "int", "long", "double", "point", "circle", "polygon"]


@dataclass(frozen=True)
class ColumnSchema:
    """A column, of a table or of a result.

    Parameters
    ----------
    kind
        Type of its values.
    length
        Largest number of characters of a text, `None` for any.
    std
        Whether the standard defines it.
    principal
        Whether it belongs into a short display.
    unicode
        Whether its texts may hold more than ASCII.
    bounded
        Whether its numbers are physical quantities: zero, or of a size between 1e-60 and 1e60.
    region
        Whether its texts are footprints, as ``POLYGON ICRS ra dec ...``.
    display
        How answers write its name, if not in lower case.
    datatype, xtype
        VOTable type of an uploaded column, so that it comes back as it was; `None` for that of
        its kind.
    """

    name: str
    kind: Kind
    length: int | None = None
    unit: str | None = None
    ucd: str | None = None
    utype: str | None = None
    description: str = ""
    std: bool = True
    principal: bool = False
    indexed: bool = False
    unicode: bool = False
    bounded: bool = True
    region: bool = False
    display: str | None = None
    datatype: str | None = None
    xtype: str | None = None

    def __deepcopy__(self, memo: object) -> "ColumnSchema":
        # sqlglot copies what hangs on its nodes; this never changes.
        return self

    @property
    def arraysize(self) -> str:
        """VOTable ``arraysize`` of a text."""
        return "*" if self.length is None else f"{self.length}*"

    @property
    def delimited_name(self) -> str:
        """The name as a query must write it."""
        return f'"{self.name}"' if self.name == "size" else self.display or self.name


@dataclass(frozen=True)
class TableSchema:
    """A table that may be queried.

    Parameters
    ----------
    schema, name
        What clients call it, as in ``ivoa.ObsCore``.
    sql
        Name in the database, or of the common table expression that holds it.
    rows
        Rows of a table that lives in the query itself; `None` for one in the database.
    region
        Column with the footprint, if the database indexes it.
    position
        Columns with the indexed position.
    rtree
        SQLite: the index of both.
    """

    schema: str
    name: str
    sql: str
    columns: tuple[ColumnSchema, ...]
    description: str = ""
    utype: str | None = None
    rows: tuple[tuple[str | int | None, ...], ...] | None = None
    region: str | None = None
    position: tuple[str, str] | None = None
    rtree: str = "obscore_rtree"

    def __deepcopy__(self, memo: object) -> "TableSchema":
        # See `ColumnSchema`.
        return self

    @property
    def full_name(self) -> str:
        """Schema and name with a dot."""
        return f"{self.schema}.{self.name}"

    def column(self, name: str) -> ColumnSchema | None:
        """Return the column of a name (lower case), if there is one."""
        return next((c for c in self.columns if c.name == name), None)


@dataclass(frozen=True)
class UploadedTable:
    """A table that a client brought, for one query.

    Parameters
    ----------
    schema
        What the query calls it.
    rows
        Its rows, in the types of its columns.
    """

    schema: TableSchema
    rows: Sequence[tuple[Any, ...]]
