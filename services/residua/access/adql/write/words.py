"""Small pieces of SQL that several writers need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlglot import exp

from residua.access.adql.meaning.constants import Number, Values
from residua.access.adql.meaning.kinds import ExpressionKind, Meaning

__all__ = [
    "Argument",
    "as_double",
    "as_kind",
    "as_long",
    "as_text",
    "both",
    "call",
    "cast_to",
    "fixed",
    "from_slots",
    "is_postgres",
    "number",
    "truth",
]

_SQL_TYPES: dict[ExpressionKind, str] = {
    "int": "BIGINT", "long": "BIGINT", "double": "DOUBLE", "text": "TEXT", "null": "TEXT",
}  # fmt: skip


@dataclass(frozen=True)
class Argument:
    """An expression in the database's words, and what it means."""

    sql: exp.Expr
    meaning: Meaning


def is_postgres(dialect: str) -> bool:
    """Whether SQL of this dialect is for PostgreSQL."""
    return dialect == "postgres"


def call(name: str, *arguments: exp.Expr) -> exp.Expr:
    """Call of a function of the database."""
    return exp.Anonymous(this=name, expressions=[a.copy() for a in arguments])


def cast_to(expression: exp.Expr, kind: ExpressionKind) -> exp.Expr:
    """Cast to the type the database has for a kind."""
    return exp.Cast(this=expression, to=exp.DataType.build(_SQL_TYPES[kind]))


def fixed(value: float | str, dialect: str) -> exp.Expr:
    """Parameter with a value that every query of this shape has."""
    node = exp.Placeholder()
    node.meta["fixed"] = value
    return _typed(node, value, dialect)


def from_slots(
    value: float | str,
    again: Callable[[Values], float | str],
    slots: frozenset[int],
    dialect: str,
    sql_type: str | None = None,
) -> exp.Expr:
    """Parameter whose value is made of the query's literals.

    Parameters
    ----------
    value
        With the literals at hand; its type decides that of the parameter.
    again
        From the literals of another query.
    slots
        Which literals it is made of.
    sql_type
        A type of PostgreSQL; `None` for that of the value.
    """
    node = exp.Placeholder()
    node.meta.update(again=again, slots=slots)
    if sql_type is not None:
        return exp.Cast(this=node, to=exp.DataType.build(sql_type, dialect="postgres", udt=True))
    return _typed(node, value, dialect)


def number(value: Number, dialect: str) -> exp.Expr:
    """Parameter of a double made of literals."""
    return from_slots(value.value, value.again, value.slots, dialect)


def as_double(argument: Argument) -> exp.Expr:
    """Return a number as a double."""
    if argument.meaning.kind == "double":
        return argument.sql
    return cast_to(argument.sql, "double")


def as_long(argument: Argument, dialect: str) -> exp.Expr:
    """Return a whole number with 64 bits."""
    if argument.meaning.kind == "long" or not is_postgres(dialect):
        return argument.sql
    return cast_to(argument.sql, "long")


def as_text(argument: Argument) -> exp.Expr:
    """Return a text; NULL gets its type."""
    return argument.sql if argument.meaning.kind == "text" else cast_to(argument.sql, "text")


def truth(condition: exp.Expr, dialect: str) -> exp.Expr:
    """Return 1, 0 or NULL for a condition."""
    if is_postgres(dialect):
        return exp.Cast(this=exp.Paren(this=condition), to=exp.DataType.build("INT"))
    return exp.Paren(this=condition)


def both(conditions: Sequence[exp.Expr]) -> exp.Expr:
    """Return the conjunction in parentheses."""
    return exp.Paren(this=exp.and_(*conditions, copy=False))


def _typed(node: exp.Expr, value: float | str, dialect: str) -> exp.Expr:
    # SQLite takes the type of the value; PostgreSQL would guess from its size.
    if not is_postgres(dialect):
        return node
    if isinstance(value, str):
        return cast_to(node, "text")
    return cast_to(node, "double" if isinstance(value, float) else "long")


def as_kind(argument: Argument, kind: ExpressionKind, dialect: str) -> exp.Expr:
    """Write a value as one of a type."""
    match kind:
        case "double":
            return as_double(argument)
        case "int" | "long":
            return as_long(argument, dialect)
        case "text" | "null":
            return as_text(argument)
        case _:
            return argument.sql
