"""Numbers of a query that no row can change."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlglot import exp

from residua.access.adql.literals import Literal

__all__ = ["Number", "Values", "number_of", "pinned"]

type Values = Sequence[Literal]
"""Literals of a query, in order."""


@dataclass(frozen=True)
class Number:
    """A number made of literals.

    Parameters
    ----------
    value
        With the literals of this query.
    again
        The number with those of another query of the same shape.
    slots
        Which literals it is made of.
    """

    value: float
    again: Callable[[Values], float]
    slots: frozenset[int]

    def __deepcopy__(self, memo: object) -> "Number":
        return self


def number_of(node: exp.Expr) -> Number | None:  # noqa: PLR0911 one for each kind
    """Return the number an expression of literals alone stands for."""
    match node:
        case exp.Literal() if not node.is_string:
            return _literal(node)
        case exp.Paren():
            return number_of(node.this)
        case exp.Neg():
            inner = number_of(node.this)
            if inner is None:
                return None
            return Number(-inner.value, lambda v: -inner.again(v), inner.slots)
        case exp.Add() | exp.Sub() | exp.Mul():
            a, b = number_of(node.this), number_of(node.expression)
            if a is None or b is None:
                return None
            combine = _OPERATIONS[type(node)]
            return Number(
                combine(a.value, b.value),
                lambda v: combine(a.again(v), b.again(v)),
                a.slots | b.slots,
            )
        case _:
            return None


def pinned(node: exp.Expr) -> bool:
    """Whether the value of a literal decided how the statement looks."""
    return bool(node.meta.get("pinned")) or node.meta.get("slot") is None


def _literal(node: exp.Literal) -> Number:
    value = float(node.this)
    slot = node.meta.get("slot")
    if slot is None:
        return Number(value, lambda _: value, frozenset())
    i: int = slot
    return Number(value, lambda v: float(v[i].value), frozenset({i}))


_OPERATIONS: dict[type[exp.Expr], Callable[[float, float], float]] = {
    exp.Add: lambda a, b: a + b,
    exp.Sub: lambda a, b: a - b,
    exp.Mul: lambda a, b: a * b,
}
