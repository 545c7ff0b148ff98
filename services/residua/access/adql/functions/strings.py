"""Functions of texts, and those of any type."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlglot import exp

from residua.access.adql.functions.function import Function
from residua.access.adql.meaning.kinds import Meaning, common
from residua.access.adql.write.words import Argument, call, is_postgres

__all__ = ["TEXTS", "lower"]


def lower(text: exp.Expr, dialect: str) -> exp.Expr:
    """Return the lower-case text, whatever the alphabet."""
    return call("residua_lower" if is_postgres(dialect) else "adql_lower", text)


def _upper(dialect: str, arguments: Sequence[Argument]) -> exp.Expr:
    return call("residua_upper" if is_postgres(dialect) else "adql_upper", arguments[0].sql)


def _text(arguments: Sequence[Meaning]) -> Meaning:
    return Meaning("text", unicode=any(a.unicode for a in arguments))


def _named(name: str) -> Callable[[str, Sequence[Argument]], exp.Expr]:
    def build(_: str, arguments: Sequence[Argument]) -> exp.Expr:
        return call(name, *(a.sql for a in arguments))

    return build


def _coalesced(arguments: Sequence[Meaning]) -> Meaning:
    meaning = common(arguments, "COALESCE and NULLIF")
    return replace(meaning, column=None)


TEXTS: dict[str, Function] = {
    "COALESCE": Function(("same",), 1, 16, _coalesced, _named("COALESCE")),
    "LOWER": Function(("text",), 1, 1, _text, lambda d, a: lower(a[0].sql, d)),
    "NULLIF": Function(("same",), 2, 2, _coalesced, _named("NULLIF")),
    "UPPER": Function(("text",), 1, 1, _text, _upper),
}
"""By name."""
