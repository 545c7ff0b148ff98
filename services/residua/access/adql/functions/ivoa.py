"""User-defined functions that VO archives share, from the IVOA's catalogue of them."""

from collections.abc import Sequence

from sqlglot import exp

from residua.access.adql.functions.function import Function
from residua.access.adql.functions.strings import lower
from residua.access.adql.meaning.kinds import Meaning
from residua.access.adql.write.words import Argument, both, call, fixed, is_postgres, truth

__all__ = ["IVOA"]

_FLAG = Meaning("int", least=1.0, most=1.0)


def _flag(_: Sequence[Meaning]) -> Meaning:
    return _FLAG


def _has_word(dialect: str, arguments: Sequence[Argument]) -> exp.Expr:
    name = "residua_hasword" if is_postgres(dialect) else "adql_hasword"
    return call(name, *(a.sql for a in arguments))


def _has_item(dialect: str, arguments: Sequence[Argument]) -> exp.Expr:
    name = "residua_hashlist_has" if is_postgres(dialect) else "adql_hashlist_has"
    return call(name, *(a.sql for a in arguments))


def _same_word(dialect: str, arguments: Sequence[Argument]) -> exp.Expr:
    value, pattern = (lower(a.sql, dialect) for a in arguments)
    test: exp.Expr = exp.Like(this=value, expression=pattern)
    if is_postgres(dialect):
        test = exp.Escape(this=test, expression=exp.Literal.string(""))
    return truth(test, dialect)


def _overlap(dialect: str, arguments: Sequence[Argument]) -> exp.Expr:
    l1, h1, l2, h2 = (a.sql for a in arguments)
    test = both(
        [
            exp.GTE(this=h1.copy(), expression=l2.copy()),
            exp.GTE(this=h2.copy(), expression=l1.copy()),
        ]
    )
    return truth(test, dialect)


def _string_agg(dialect: str, arguments: Sequence[Argument]) -> exp.Expr:
    value = arguments[0].sql
    separator = arguments[1].sql if len(arguments) > 1 else fixed(",", dialect)
    if not is_postgres(dialect):
        return call("adql_string_agg", value, separator)
    order = exp.Collate(this=value.copy(), expression=exp.to_identifier("C", quoted=True))
    ordered = exp.Order(this=separator.copy(), expressions=[exp.Ordered(this=order)])
    return call("STRING_AGG", value, ordered)


def _string_agg_meaning(arguments: Sequence[Meaning]) -> Meaning:
    return Meaning("text", unicode=any(a.unicode for a in arguments))


IVOA: dict[str, Function] = {
    "IVO_HASWORD": Function(
        ("text", "text"),
        2,
        2,
        _flag,
        _has_word,
        form="ivo_hasword(haystack VARCHAR(*), needle VARCHAR(*)) -> INTEGER",
        description="1 if the words of needle stand in haystack, whatever their case; else 0.",
    ),
    "IVO_HASHLIST_HAS": Function(
        ("text", "text"),
        2,
        2,
        _flag,
        _has_item,
        form="ivo_hashlist_has(hashlist VARCHAR(*), item VARCHAR(*)) -> INTEGER",
        description="1 if item is one of the items that # separates in hashlist, whatever its "
        "case; else 0.",
    ),
    "IVO_NOCASEMATCH": Function(
        ("text", "text"),
        2,
        2,
        _flag,
        _same_word,
        form="ivo_nocasematch(value VARCHAR(*), pattern VARCHAR(*)) -> INTEGER",
        description="1 if value matches the pattern of LIKE, whatever the case; else 0.",
    ),
    "IVO_INTERVAL_OVERLAPS": Function(
        ("double",),
        4,
        4,
        _flag,
        _overlap,
        form="ivo_interval_overlaps(l1 NUMERIC, h1 NUMERIC, l2 NUMERIC, h2 NUMERIC) -> INTEGER",
        description="1 if the intervals l1..h1 and l2..h2 share a value, ends included; else 0.",
    ),
    "IVO_STRING_AGG": Function(
        ("text", "text"),
        1,
        2,
        _string_agg_meaning,
        _string_agg,
        aggregate=True,
        form="ivo_string_agg(expression VARCHAR(*), delimiter VARCHAR(*)) -> VARCHAR(*)",
        description="The texts of all rows, sorted, with the delimiter between them.",
    ),
}
"""By name."""
