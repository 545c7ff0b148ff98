"""Literals of a query: its own numbers and texts, or parameters that other queries fill."""

from sqlglot import exp

from residua.access.adql.meaning.kinds import ExpressionKind
from residua.access.adql.write.words import fixed, from_slots

__all__ = ["literal", "own_number", "parameter"]


def literal(node: exp.Literal, dialect: str) -> exp.Expr:
    """Write a literal that is this query's own."""
    if node.is_string:
        return fixed(str(node.this), dialect)
    text = str(node.this)
    return fixed(int(text) if text.isdigit() else float(text), dialect)


def own_number(node: exp.Expr) -> float | None:
    """Return the value of a number of the query with its sign, a whole one as `int`."""
    sign = 1
    while isinstance(node, exp.Neg | exp.Paren):
        sign = -sign if isinstance(node, exp.Neg) else sign
        node = node.this
    if not isinstance(node, exp.Literal) or node.is_string:
        return None
    text = str(node.this)
    return sign * (int(text) if text.isdigit() else float(text))


def parameter(node: exp.Expr, kind: ExpressionKind, dialect: str) -> exp.Expr | None:
    """Write a literal as a parameter that other queries fill; `None` where it cannot be one."""
    sign = 1
    while isinstance(node, exp.Neg | exp.Paren):
        sign = -sign if isinstance(node, exp.Neg) else sign
        node = node.this
    slot = node.meta.get("slot")
    if not isinstance(node, exp.Literal) or slot is None:
        return None
    i: int = slot
    slots = frozenset({i})
    if node.is_string:
        return from_slots(str(node.this), lambda v: v[i].value, slots, dialect)
    if kind == "double":
        return from_slots(
            sign * float(node.this), lambda v: sign * float(v[i].value), slots, dialect
        )
    if not str(node.this).isdigit() or int(node.this) >= 2**63:
        return None
    return from_slots(sign * int(node.this), lambda v: sign * int(v[i].value), slots, dialect)
