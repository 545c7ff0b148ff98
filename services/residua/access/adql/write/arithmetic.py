"""Sums, products and quotients that both databases calculate alike.

Whole numbers have 64 bits and doubles are those of IEEE 754; what has no value there (a division
by zero, an overflow) is NULL. Where the sizes of the operands prove that nothing overflows, the
database's own operator is used.
"""

from collections.abc import Callable
from typing import Literal

from sqlglot import exp

from residua.access.adql.meaning.kinds import Meaning
from residua.access.adql.write.words import Argument, as_double, as_long, call, is_postgres

__all__ = ["OPERATORS", "Operator", "arithmetic", "arithmetic_meaning", "negated"]

type Operator = Literal["+", "-", "*", "/"]

OPERATORS: dict[type[exp.Expr], Operator] = {
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/",
}  # fmt: skip
_NODES: dict[Operator, Callable[..., exp.Expr]] = {
    "+": exp.Add, "-": exp.Sub, "*": exp.Mul, "/": exp.Div,
}  # fmt: skip
_GUARDED: dict[Operator, str] = {
    "+": "residua_plus", "-": "residua_minus", "*": "residua_times", "/": "residua_over",
}  # fmt: skip
_LONG_LIMIT = 2.0**62
_SAFE_MOST, _SAFE_LEAST = 1e300, 1e-290


def arithmetic_meaning(operator: Operator, a: Meaning, b: Meaning) -> Meaning:
    """Type and size of a result; both are numbers."""
    least, most = _size(operator, a, b)
    if a.is_whole and b.is_whole:
        return Meaning("long", least=min(1.0, least) if least else 1.0, most=min(most, 2.0**63))
    return Meaning("double", least=least, most=most)


def arithmetic(operator: Operator, a: Argument, b: Argument, dialect: str) -> exp.Expr:
    """Write one operation."""
    whole = a.meaning.is_whole and b.meaning.is_whole
    left, right = (as_long(a, dialect), as_long(b, dialect)) if whole else (
        as_double(a), as_double(b)
    )  # fmt: skip
    if operator == "/":
        zero = exp.Literal.number(0)
        right = exp.Nullif(this=right, expression=zero)
    least, most = _size(operator, a.meaning, b.meaning)
    if whole:
        return _whole(operator, left, right, most, dialect)
    if most <= _SAFE_MOST and (least >= _SAFE_LEAST or operator in {"+", "-"}):
        return _plain(operator, left, right)
    if is_postgres(dialect):
        return call(_GUARDED[operator], left, right)
    return call("adql_finite", _plain(operator, left, right))


def negated(a: Argument, dialect: str) -> exp.Expr:
    """Write the negative."""
    if a.meaning.is_whole and a.meaning.most >= 2.0**63:
        zero = Argument(exp.Literal.number(0), Meaning("long", least=0.0, most=0.0))
        return arithmetic("-", zero, a, dialect)
    inner = as_long(a, dialect) if a.meaning.is_whole else as_double(a)
    return exp.Paren(this=exp.Neg(this=exp.Paren(this=inner.copy())))


def _whole(
    operator: Operator, left: exp.Expr, right: exp.Expr, most: float, dialect: str
) -> exp.Expr:
    if most < _LONG_LIMIT:
        return _plain(operator, left, right)
    if not is_postgres(dialect):
        # SQLite turns a sum that is too large into a double.
        return call("adql_long", _plain(operator, left, right))
    exact = exp.DataType.build("DECIMAL")
    a, b = (exp.Cast(this=side.copy(), to=exact.copy()) for side in (left, right))
    value = call("DIV", a, b) if operator == "/" else _plain(operator, a, b)
    return call("residua_long", value)


def _plain(operator: Operator, left: exp.Expr, right: exp.Expr) -> exp.Expr:
    node = _NODES[operator](this=_wrapped(left), expression=_wrapped(right))
    if operator == "/":
        node.set("typed", True)
    return exp.Paren(this=node)


def _wrapped(side: exp.Expr) -> exp.Expr:
    simple = exp.Column | exp.Anonymous | exp.Paren | exp.Cast | exp.Nullif | exp.Placeholder
    return side.copy() if isinstance(side, simple) else exp.Paren(this=side.copy())


def _size(operator: Operator, a: Meaning, b: Meaning) -> tuple[float, float]:
    """Least and most absolute value of a result that is not zero."""
    if "null" in {a.kind, b.kind}:
        return 1.0, 1.0
    if operator in {"+", "-"}:
        # Cancellation leaves at least the last bit of the smaller one.
        return min(a.least, b.least) * 1e-17, a.most + b.most
    if operator == "*":
        return a.least * b.least, a.most * b.most if a.most and b.most else 0.0
    if a.is_whole and b.is_whole:
        return 1.0, a.most
    return a.least / b.most if b.most else 0.0, a.most / b.least if b.least else float("inf")
