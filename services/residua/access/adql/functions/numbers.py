"""Functions of numbers.

Outside a function's domain, and beyond the largest double, the value is NULL in both databases.
"""

import math
from collections.abc import Callable, Sequence

from sqlglot import exp

from residua.access.adql.functions.function import Function
from residua.access.adql.meaning.kinds import Meaning
from residua.access.adql.write.arithmetic import arithmetic, arithmetic_meaning
from residua.access.adql.write.words import Argument, as_long, call, fixed, is_postgres

__all__ = ["NUMERIC"]

type _Result = Callable[[Sequence[Meaning]], Meaning]

_DEGREE = 0.017453292519943295
_INFINITE = float("inf")


def _double(least: float, most: float, *, unit: bool = False) -> _Result:
    def result(arguments: Sequence[Meaning]) -> Meaning:
        first = arguments[0] if unit else None
        return Meaning(
            "double",
            unit=first.unit if first else None,
            ucd=first.ucd if first else None,
            least=least,
            most=most,
        )

    return result


def _one(postgres: str, sqlite: str | None = None, result: _Result | None = None) -> Function:
    """Build a function of one double that returns one."""

    def build(dialect: str, arguments: Sequence[Argument]) -> exp.Expr:
        name = postgres if is_postgres(dialect) or sqlite is None else sqlite
        return call(name, arguments[0].sql)

    return Function(("double",), 1, 1, result or _double(0.0, _INFINITE), build)


def _two(postgres: str, sqlite: str, result: _Result) -> Function:
    def build(dialect: str, arguments: Sequence[Argument]) -> exp.Expr:
        name = postgres if is_postgres(dialect) else sqlite
        return call(name, *(a.sql for a in arguments))

    return Function(("double", "double"), 2, 2, result, build)


def _digits(postgres: str, sqlite: str) -> Function:
    def build(dialect: str, arguments: Sequence[Argument]) -> exp.Expr:
        digits = arguments[1].sql if len(arguments) > 1 else fixed(0, dialect)
        return call(postgres if is_postgres(dialect) else sqlite, arguments[0].sql, digits)

    def result(arguments: Sequence[Meaning]) -> Meaning:
        first = arguments[0]
        return Meaning("double", first.unit, first.ucd, least=0.0, most=first.most * 10.0)

    return Function(("double", "integer"), 1, 2, result, build)


def _scaled(operator: str) -> Function:
    def build(dialect: str, arguments: Sequence[Argument]) -> exp.Expr:
        factor = Argument(fixed(_DEGREE, dialect), _FACTOR)
        return arithmetic("*" if operator == "*" else "/", arguments[0], factor, dialect)

    def result(arguments: Sequence[Meaning]) -> Meaning:
        return arithmetic_meaning("*" if operator == "*" else "/", arguments[0], _FACTOR)

    return Function(("double",), 1, 1, result, build)


_FACTOR = Meaning("double", least=_DEGREE, most=_DEGREE)


def _cot(dialect: str, arguments: Sequence[Argument]) -> exp.Expr:
    one = Argument(fixed(1.0, dialect), Meaning("double", least=1.0, most=1.0))
    tangent = Argument(call("TAN", arguments[0].sql), _tangent([arguments[0].meaning]))
    return arithmetic("/", one, tangent, dialect)


def _cot_meaning(arguments: Sequence[Meaning]) -> Meaning:
    return arithmetic_meaning("/", Meaning("double", least=1.0, most=1.0), _tangent(arguments))


def _tangent(arguments: Sequence[Meaning]) -> Meaning:
    return Meaning("double", least=min(arguments[0].least, 1e-17), most=1e17)


def _absolute(dialect: str, arguments: Sequence[Argument]) -> exp.Expr:
    [argument] = arguments
    if not argument.meaning.is_whole or argument.meaning.most < 2.0**62:
        return call("ABS", argument.sql)
    if is_postgres(dialect):
        exact = exp.cast(as_long(argument, dialect), "DECIMAL")
        return call("residua_long", call("ABS", exact))
    return call("adql_abs", argument.sql)


def _absolute_meaning(arguments: Sequence[Meaning]) -> Meaning:
    [a] = arguments
    return Meaning(a.kind, a.unit, a.ucd, least=a.least, most=a.most)


def _remainder(dialect: str, arguments: Sequence[Argument]) -> exp.Expr:
    a, b = arguments
    if a.meaning.is_whole and b.meaning.is_whole:
        divisor = exp.Nullif(this=as_long(b, dialect).copy(), expression=exp.Literal.number(0))
        if is_postgres(dialect):
            return call("MOD", as_long(a, dialect), divisor)
        return exp.Paren(this=exp.Mod(this=exp.Paren(this=a.sql.copy()), expression=divisor))
    doubles = (exp.cast(x.sql, "DOUBLE") for x in arguments)
    return call("residua_mod" if is_postgres(dialect) else "adql_mod", *doubles)


def _remainder_meaning(arguments: Sequence[Meaning]) -> Meaning:
    a, b = arguments
    if a.is_whole and b.is_whole:
        return Meaning("long", least=1.0, most=min(a.most, b.most))
    return Meaning("double", least=0.0, most=min(a.most, b.most))


def _root_meaning(arguments: Sequence[Meaning]) -> Meaning:
    a = arguments[0]
    return Meaning("double", least=math.sqrt(a.least), most=math.sqrt(a.most))


def _sine_meaning(arguments: Sequence[Meaning]) -> Meaning:
    # sin(k pi) of a rounded multiple is the rounding error, about 1e-16 and more.
    return Meaning("double", least=min(arguments[0].least, 1e-30), most=1.0)


def _whole_meaning(arguments: Sequence[Meaning]) -> Meaning:
    a = arguments[0]
    return Meaning("double", a.unit, a.ucd, least=1.0, most=a.most + 1.0)


def _pi(dialect: str, _: Sequence[Argument]) -> exp.Expr:
    return fixed(math.pi, dialect)


def _random(dialect: str, _: Sequence[Argument]) -> exp.Expr:
    return call("random" if is_postgres(dialect) else "adql_random")


NUMERIC: dict[str, Function] = {
    "ABS": Function(("number",), 1, 1, _absolute_meaning, _absolute),
    "ACOS": _one("residua_acos", "ACOS", _double(1e-17, 4.0)),
    "ASIN": _one("residua_asin", "ASIN", _sine_meaning),
    "ATAN": _one("ATAN", result=_sine_meaning),
    "ATAN2": _two("ATAN2", "ATAN2", _double(0.0, 4.0)),
    "CEILING": _one("CEILING", result=_whole_meaning),
    "COS": _one("COS", result=_double(1e-30, 1.0)),
    "COT": Function(("double",), 1, 1, _cot_meaning, _cot),
    "DEGREES": _scaled("/"),
    "EXP": _one("residua_exp", "adql_exp"),
    "FLOOR": _one("FLOOR", "adql_floor", _whole_meaning),
    "LOG": _one("residua_ln", "LN", _double(1e-17, 1e3)),
    "LOG10": _one("residua_log10", "adql_log10", _double(1e-17, 1e3)),
    "MOD": Function(("number", "number"), 2, 2, _remainder_meaning, _remainder),
    "PI": Function(("double",), 0, 0, lambda _: Meaning("double", least=3.0, most=4.0), _pi),
    "POWER": _two("residua_power", "adql_power", _double(0.0, _INFINITE)),
    "RADIANS": _scaled("*"),
    "RAND": Function(("integer",), 0, 1, lambda _: Meaning("double", least=0.0, most=1.0), _random),
    "ROUND": _digits("residua_round", "adql_round"),
    "SIN": _one("SIN", result=_sine_meaning),
    "SQRT": _one("residua_sqrt", "SQRT", _root_meaning),
    "TAN": _one("TAN", result=_tangent),
    "TRUNCATE": _digits("residua_truncate", "adql_truncate"),
}
"""By name; LOG is the natural logarithm, as ADQL says."""
