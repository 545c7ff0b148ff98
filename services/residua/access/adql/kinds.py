"""Type, unit and UCD of a result column."""

from typing import cast

from sqlglot import exp

from residua.access.adql.functions import FUNCTIONS
from residua.access.adql.geometry import name_of
from residua.access.adql.schema import ColumnSchema, Kind

__all__ = ["result_column"]

_GEOMETRY: dict[str, Kind] = {
    "POINT": "point", "CENTROID": "point", "CIRCLE": "circle", "POLYGON": "polygon",
    "BOX": "polygon", "CONTAINS": "int", "INTERSECTS": "int", "DISTANCE": "double",
    "AREA": "double", "COORD1": "double", "COORD2": "double", "COORDSYS": "text",
}  # fmt: skip
_UNITS = {"DISTANCE": "deg", "COORD1": "deg", "COORD2": "deg", "AREA": "deg**2"}
_KEEPS_MEANING = frozenset({"MIN", "MAX", "AVG", "SUM", "ABS", "COALESCE", "ROUND", "TRUNCATE"})
_NUMBERS: tuple[Kind, ...] = ("int", "long", "double")


def result_column(projection: exp.Expr) -> ColumnSchema:
    """Describe a column of a result, after the names are resolved and before the rewriting."""
    inner = projection.unalias()
    name = projection.alias_or_name
    if isinstance(inner, exp.Column):
        origin = cast("ColumnSchema | None", inner.meta.get("column"))
        return origin if origin is not None else ColumnSchema(name, "unknown", std=False)
    function = name_of(inner)
    column = ColumnSchema(name, _kind(inner), unit=_UNITS.get(function or ""), std=False)
    if function in _KEEPS_MEANING:
        argument = result_column(inner.expressions[0])
        return ColumnSchema(name, column.kind, unit=argument.unit, ucd=argument.ucd, std=False)
    return column


def _kind(node: exp.Expr) -> Kind:  # noqa: PLR0911 one for each kind
    match node:
        case exp.Literal():
            if node.is_string:
                return "text"
            return "long" if str(node.this).isdigit() else "double"
        case exp.Paren() | exp.Neg():
            return _kind(node.this)
        case exp.Column():
            return result_column(node).kind
        case exp.Add() | exp.Sub() | exp.Mul() | exp.Div():
            return _common(_kind(node.this), _kind(node.expression))
        case exp.DPipe():
            return "text"
        case exp.Cast():
            return _cast_kind(node.to.this.value)
        case exp.Anonymous():
            return _function_kind(node)
        case _:
            return "unknown"


def _function_kind(node: exp.Anonymous) -> Kind:
    name = node.name.upper()
    if name in _GEOMETRY:
        return _GEOMETRY[name]
    function = FUNCTIONS.get(name)
    if function is None or (function.kind is None and not node.expressions):
        return "unknown"
    if function.kind is not None:
        return function.kind
    kind = _kind(node.expressions[0])
    return "long" if name == "SUM" and kind == "int" else kind


def _common(a: Kind, b: Kind) -> Kind:
    if a in _NUMBERS and b in _NUMBERS:
        return _NUMBERS[max(_NUMBERS.index(a), _NUMBERS.index(b))]
    return "unknown"


def _cast_kind(sql_type: str) -> Kind:
    if sql_type in {"INT", "SMALLINT", "BIGINT"}:
        # SQLite's integers all have 64 bits.
        return "long"
    return "double" if sql_type in {"FLOAT", "DOUBLE"} else "text"
