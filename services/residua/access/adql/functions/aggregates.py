"""Functions that make one value of many rows."""

from collections.abc import Sequence

from sqlglot import exp

from residua.access.adql.functions.function import Function
from residua.access.adql.meaning.kinds import Meaning
from residua.access.adql.write.words import Argument, as_double, as_long, call, fixed, is_postgres

__all__ = ["AGGREGATES"]

# The sum of as many squares as a table has rows is still a double.
_SUMMED = 1e100


def _count(_: str, arguments: Sequence[Argument]) -> exp.Expr:
    return call("COUNT", arguments[0].sql)


def _sum(dialect: str, arguments: Sequence[Argument]) -> exp.Expr:
    [argument] = arguments
    if not argument.meaning.is_whole:
        return _bounded("SUM", argument, dialect)
    if is_postgres(dialect):
        return call("residua_long", call("SUM", _inside(argument, dialect)))
    if argument.meaning.most < 2.0**23:
        return call("SUM", argument.sql)
    return call("adql_sum", argument.sql)


def _average(dialect: str, arguments: Sequence[Argument]) -> exp.Expr:
    return _bounded("AVG", arguments[0], dialect)


def _bounded(name: str, argument: Argument, dialect: str) -> exp.Expr:
    """Sum of doubles; NULL when one of them is so large that sums may overflow."""
    distinct = isinstance(argument.sql, exp.Distinct)
    value = argument.sql.expressions[0] if distinct else argument.sql
    double = as_double(Argument(value, argument.meaning))
    aggregate = call(name, exp.Distinct(expressions=[double]) if distinct else double)
    if argument.meaning.most <= _SUMMED:
        return aggregate
    limit = fixed(_SUMMED, dialect)
    size = call("ABS", double)
    small = exp.Filter(
        this=aggregate,
        expression=exp.Where(this=exp.LTE(this=size.copy(), expression=limit.copy())),
    )
    largest = exp.LTE(this=call("MAX", size), expression=limit.copy())
    return exp.Case().when(largest, small)


def _inside(argument: Argument, dialect: str) -> exp.Expr:
    if isinstance(argument.sql, exp.Distinct):
        value = as_long(Argument(argument.sql.expressions[0], argument.meaning), dialect)
        return exp.Distinct(expressions=[value.copy()])
    return as_long(argument, dialect)


def _extreme(name: str, dialect: str, arguments: Sequence[Argument]) -> exp.Expr:
    [argument] = arguments
    if argument.meaning.kind == "text" and is_postgres(dialect):
        distinct = isinstance(argument.sql, exp.Distinct)
        value = argument.sql.expressions[0] if distinct else argument.sql
        return call(name, exp.Collate(this=value.copy(), expression=exp.to_identifier("C", True)))
    return call(name, argument.sql)


def _sum_meaning(arguments: Sequence[Meaning]) -> Meaning:
    [a] = arguments
    if a.is_whole:
        return Meaning("long", a.unit, a.ucd, least=1.0, most=2.0**63)
    return Meaning("double", a.unit, a.ucd, least=a.least * 1e-30, most=a.most * 1e15)


def _average_meaning(arguments: Sequence[Meaning]) -> Meaning:
    [a] = arguments
    return Meaning("double", a.unit, a.ucd, least=a.least * 1e-45, most=a.most)


def _extreme_meaning(arguments: Sequence[Meaning]) -> Meaning:
    return arguments[0].alone()


AGGREGATES: dict[str, Function] = {
    "AVG": Function(("number",), 1, 1, _average_meaning, _average, aggregate=True),
    "COUNT": Function(
        ("any",), 1, 1, lambda _: Meaning("long", least=1.0, most=2.0**50), _count, aggregate=True
    ),
    "MAX": Function(
        ("any",), 1, 1, _extreme_meaning, lambda d, a: _extreme("MAX", d, a), aggregate=True
    ),
    "MIN": Function(
        ("any",), 1, 1, _extreme_meaning, lambda d, a: _extreme("MIN", d, a), aggregate=True
    ),
    "SUM": Function(("number",), 1, 1, _sum_meaning, _sum, aggregate=True),
}
"""By name."""
