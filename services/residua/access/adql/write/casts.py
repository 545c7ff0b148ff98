"""CAST: what each database makes of it.

A double becomes a whole number by leaving out its fraction; a text is read as a number where it
is one; a text is cut to the length asked for. What has no value in the new type is NULL.
"""

from sqlglot import exp

from residua.access.adql.meaning.kinds import ExpressionKind
from residua.access.adql.write.words import (
    Argument,
    as_double,
    as_long,
    call,
    cast_to,
    fixed,
    is_postgres,
)  # fmt: skip

__all__ = ["cast_as"]

_LARGEST = {"SMALLINT": 2**15 - 1, "INT": 2**31 - 1, "BIGINT": 2**63 - 1}


def cast_as(argument: Argument, target: exp.DataType, dialect: str) -> exp.Expr:
    """Write a CAST to one of ADQL's types."""
    name = target.this.value
    kind = argument.meaning.kind
    if name in _LARGEST:
        return _to_whole(argument, kind, name, dialect)
    if name in {"FLOAT", "DOUBLE"}:
        if kind == "text":
            return call("residua_number" if is_postgres(dialect) else "adql_number", argument.sql)
        return as_double(argument)
    text = _to_text(argument, kind, dialect)
    if not target.expressions:
        return text
    length = fixed(int(target.expressions[0].name), dialect)
    if is_postgres(dialect):
        return call("LEFT", text, exp.cast(length, "INT"))
    return call("SUBSTR", text, exp.Literal.number(1), length)


def _to_whole(argument: Argument, kind: ExpressionKind, name: str, dialect: str) -> exp.Expr:
    postgres = is_postgres(dialect)
    if kind == "text":
        value = call("residua_integer" if postgres else "adql_integer", argument.sql)
    elif kind == "double":
        value = call("residua_whole" if postgres else "adql_whole", argument.sql)
    else:
        value = as_long(argument, dialect) if kind != "null" else cast_to(exp.Null(), "long")
    largest = _LARGEST[name]
    if largest == _LARGEST["BIGINT"] or argument.meaning.most <= largest:
        return value
    return call("residua_within" if postgres else "adql_within", value, fixed(largest, dialect))


def _to_text(argument: Argument, kind: ExpressionKind, dialect: str) -> exp.Expr:
    if kind == "text":
        return argument.sql
    if kind != "double":
        return cast_to(argument.sql, "text")
    if not is_postgres(dialect):
        return call("adql_text", argument.sql)
    # A negative zero reads as zero.
    return cast_to(
        exp.Paren(this=exp.Add(this=argument.sql, expression=fixed(0.0, dialect))), "text"
    )
