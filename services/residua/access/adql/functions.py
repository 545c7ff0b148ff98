"""Functions of ADQL that are not geometry: who is allowed, and what each database calls it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlglot import exp

from residua.access.adql.errors import AdqlError
from residua.access.adql.schema import Kind

__all__ = ["FUNCTIONS", "Function", "build_function"]

type _Build = Callable[[str, Sequence[exp.Expr]], exp.Expr]


@dataclass(frozen=True)
class Function:
    """A function clients may call.

    Parameters
    ----------
    least, most
        Number of arguments.
    kind
        Type of the result; `None` for that of the first argument.
    build
        From the database's dialect and the arguments to SQL.
    """

    least: int
    most: int
    kind: Kind | None
    build: _Build


def build_function(name: str, dialect: str, arguments: Sequence[exp.Expr]) -> exp.Expr:
    """Return the call in the database's own words; raises `AdqlError` for an unknown one."""
    function = FUNCTIONS.get(name)
    if function is None:
        raise AdqlError(f"no function {name}; there are {', '.join(sorted(FUNCTIONS))}")
    if not function.least <= len(arguments) <= function.most:
        raise AdqlError(
            f"{name} takes {function.least} to {function.most} arguments, not {len(arguments)}"
        )
    star = [a for a in arguments if isinstance(a, exp.Star)]
    if star and name != "COUNT":
        raise AdqlError(f"{name} does not take *")
    if name not in _AGGREGATES and any(isinstance(a, exp.Distinct) for a in arguments):
        raise AdqlError(f"{name} does not take DISTINCT")
    return function.build(dialect, arguments)


def _call(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=list(arguments))


def _named(name: str, postgres: str | None = None) -> _Build:
    def build(dialect: str, arguments: Sequence[exp.Expr]) -> exp.Expr:
        return _call(postgres if postgres and dialect == "postgres" else name, *arguments)

    return build


def _cast(expression: exp.Expr, sql_type: str) -> exp.Expr:
    return exp.cast(expression, sql_type)


def _through_decimal(name: str, sqlite: str) -> _Build:
    # PostgreSQL rounds to digits, and takes remainders, of exact numbers only.
    def build(dialect: str, arguments: Sequence[exp.Expr]) -> exp.Expr:
        if dialect != "postgres":
            return _call(sqlite, *arguments)
        first, *rest = arguments
        if name == "MOD":
            rest = [_cast(_call("NULLIF", rest[0], exp.Literal.number(0)), "DECIMAL")]
        return _cast(_call(name, _cast(first, "DECIMAL"), *rest), "DOUBLE")

    return build


def _pi(_: str, __: Sequence[exp.Expr]) -> exp.Expr:
    return _call("PI")


def _random(dialect: str, _: Sequence[exp.Expr]) -> exp.Expr:
    return _call("random" if dialect == "postgres" else "adql_random")


def _cot(_: str, arguments: Sequence[exp.Expr]) -> exp.Expr:
    tangent = _call("NULLIF", _call("TAN", arguments[0]), exp.Literal.number(0))
    return exp.Paren(this=exp.Div(this=exp.Literal.number("1.0"), expression=tangent, typed=True))


_AGGREGATES = frozenset({"COUNT", "SUM", "AVG", "MIN", "MAX"})

FUNCTIONS: dict[str, Function] = {
    **{
        name: Function(1, 1, "double", _named(name))
        for name in (
            "ACOS", "ASIN", "ATAN", "COS", "SIN", "TAN", "DEGREES", "RADIANS", "EXP", "SQRT",
        )
    },
    "ABS": Function(1, 1, None, _named("ABS")),
    "ATAN2": Function(2, 2, "double", _named("ATAN2")),
    "CEILING": Function(1, 1, "double", _named("CEILING")),
    "COT": Function(1, 1, "double", _cot),
    "FLOOR": Function(1, 1, "double", _named("FLOOR")),
    "LOG": Function(1, 1, "double", _named("LN")),
    "LOG10": Function(1, 1, "double", _named("LOG10", "LOG")),
    "MOD": Function(2, 2, "double", _through_decimal("MOD", "MOD")),
    "PI": Function(0, 0, "double", _pi),
    "POWER": Function(2, 2, "double", _named("POWER")),
    "RAND": Function(0, 1, "double", _random),
    "ROUND": Function(1, 2, "double", _through_decimal("ROUND", "ROUND")),
    "TRUNCATE": Function(1, 2, "double", _through_decimal("TRUNC", "adql_truncate")),
    "LOWER": Function(1, 1, "text", _named("LOWER")),
    "UPPER": Function(1, 1, "text", _named("UPPER")),
    "COALESCE": Function(1, 16, None, _named("COALESCE")),
    "NULLIF": Function(2, 2, None, _named("NULLIF")),
    "COUNT": Function(1, 1, "long", _named("COUNT")),
    "SUM": Function(1, 1, None, _named("SUM")),
    "AVG": Function(1, 1, "double", _named("AVG")),
    "MIN": Function(1, 1, None, _named("MIN")),
    "MAX": Function(1, 1, None, _named("MAX")),
}  # fmt: skip
"""By ADQL name."""
