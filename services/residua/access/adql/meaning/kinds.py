"""Types of expressions, and what several of them have in common."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from residua.access.adql.errors import AdqlError
from residua.access.adql.queryable import ColumnSchema, Kind

__all__ = [
    "CONDITION",
    "NULL",
    "NUMBERS",
    "ExpressionKind",
    "Meaning",
    "column_meaning",
    "common",
    "result_column",
]

type ExpressionKind = Kind | Literal["null", "condition"]

NUMBERS: tuple[ExpressionKind, ...] = ("int", "long", "double")
"""Types of numbers, the narrower first."""

# Columns hold physical quantities and counts: numbers of such a size, or zero.
_SMALLEST, _LARGEST = 1e-60, 1e60


@dataclass(frozen=True)
class Meaning:
    """What is known of an expression before any row is seen.

    Parameters
    ----------
    kind
        Its type; ``null`` for NULL itself, ``condition`` for what is true or false.
    unicode
        A text that may hold more than ASCII.
    least, most
        Between which absolute values its numbers lie that are not zero: where these prove that
        nothing overflows, the database calculates without a guard.
    column
        The column of a table it is, through any subqueries.
    """

    kind: ExpressionKind
    unit: str | None = None
    ucd: str | None = None
    unicode: bool = False
    least: float = 0.0
    most: float = float("inf")
    column: ColumnSchema | None = None

    def __deepcopy__(self, memo: object) -> "Meaning":
        # See `ColumnSchema`.
        return self

    @property
    def is_number(self) -> bool:
        """Whether it can be calculated with; NULL can."""
        return self.kind in NUMBERS or self.kind == "null"

    @property
    def is_whole(self) -> bool:
        """Whether it is a whole number; NULL is."""
        return self.kind in {"int", "long", "null"}

    @property
    def is_text(self) -> bool:
        """Whether it is a text; NULL is."""
        return self.kind in {"text", "null"}

    def alone(self) -> "Meaning":
        """Return the same of a value that is no column any more."""
        return replace(self, column=None)


NULL = Meaning("null")
CONDITION = Meaning("condition")


def column_meaning(column: ColumnSchema) -> Meaning:
    """Return the meaning of a table's column."""
    least, most = 1.0, 2.0**63
    if column.kind == "int":
        most = 2.0**31
    elif column.kind == "double":
        least, most = (_SMALLEST, _LARGEST) if column.bounded else (0.0, float("inf"))
    return Meaning(column.kind, column.unit, column.ucd, column.unicode, least, most, column=column)


def common(meanings: Iterable[Meaning], what: str) -> Meaning:
    """Return the type that values of all these types have.

    Raises
    ------
    AdqlError
        Numbers and texts, or conditions, have none.
    """
    known = list(meanings)
    for meaning in known:
        if meaning.kind == "condition":
            raise AdqlError(f"{what}: a condition is no value; use CASE WHEN ... THEN ... END")
    typed = [meaning for meaning in known if meaning.kind != "null"]
    if not typed:
        return NULL
    kinds = {meaning.kind for meaning in typed}
    unit = {meaning.unit for meaning in typed}
    ucd = {meaning.ucd for meaning in typed}
    column = {meaning.column for meaning in typed}
    if kinds <= set(NUMBERS):
        kind = max(kinds, key=NUMBERS.index)
    elif len(kinds) == 1:
        kind = kinds.pop()
    else:
        raise AdqlError(
            f"{what}: {_words(kinds)} have no common type; CAST(... AS VARCHAR) makes a text, "
            "CAST(... AS DOUBLE PRECISION) a number"
        )
    return Meaning(
        kind,
        unit.pop() if len(unit) == 1 else None,
        ucd.pop() if len(ucd) == 1 else None,
        unicode=any(meaning.unicode for meaning in typed),
        least=min(meaning.least for meaning in typed),
        most=max(meaning.most for meaning in typed),
        column=column.pop() if len(column) == 1 else None,
    )


def result_column(meaning: Meaning, name: str) -> ColumnSchema:
    """Describe a column of a result."""
    if meaning.column is not None and meaning.column.kind == meaning.kind:
        shown = meaning.column.display
        return replace(
            meaning.column, name=shown if shown and name.lower() == shown.lower() else name
        )
    kind = meaning.kind
    if kind in {"null", "condition"}:
        # Nothing but NULL: any type holds it.
        kind = "text"
    return ColumnSchema(
        name,
        kind,  # type: ignore[arg-type]
        unit=meaning.unit,
        ucd=meaning.ucd,
        std=False,
        unicode=meaning.unicode,
    )


def _words(kinds: Iterable[ExpressionKind]) -> str:
    names = {"text": "texts", "int": "numbers", "long": "numbers", "double": "numbers"}
    return " and ".join(sorted({names.get(kind, f"a {kind}") for kind in kinds}))
