"""ORDER BY: which columns it names, and texts sorted alike by both databases."""

from collections.abc import Sequence

from sqlglot import exp

from residua.access.adql.meaning.kinds import ExpressionKind
from residua.access.adql.write.words import is_postgres

__all__ = ["c_collated", "collate", "positions_of", "select_all"]


def positions_of(order: exp.Order | None, query: exp.Query) -> dict[int, int]:
    """Return which items of ORDER BY are columns of the result: item to column."""
    found: dict[int, int] = {}
    if order is None:
        return found
    shown = [p.unalias() for p in query.selects]
    names = [p.alias_or_name for p in query.selects]
    for i, item in enumerate(order.expressions):
        key = item.this
        if isinstance(key, exp.Literal) and not key.is_string:
            found[i] = int(key.this) - 1
        elif isinstance(key, exp.Column) and not key.table and key.name in names:
            found[i] = names.index(key.name)
        elif isinstance(query, exp.Select) and key in shown:
            found[i] = shown.index(key)
    return found


def collate(
    select: exp.Select, wanted: Sequence[ExpressionKind], positions: dict[int, int], dialect: str
) -> None:
    """Let texts be sorted by their characters' numbers, whatever the database's language."""
    if not is_postgres(dialect):
        return
    for i in set(positions.values()):
        if wanted[i] in {"text", "null"}:
            projection = select.expressions[i]
            projection.set("this", c_collated(projection.this))


def select_all(query: exp.Expr) -> exp.Expr:
    """Wrap a query, as a side of a set operation that has an order or a limit of its own."""
    alias = exp.TableAlias(this=exp.to_identifier("residua_part", quoted=True))
    return exp.Select(
        expressions=[exp.Star()], from_=exp.From(this=exp.Subquery(this=query.copy(), alias=alias))
    )


def c_collated(value: exp.Expr) -> exp.Expr:
    """Sort a text by its characters' numbers."""
    return exp.Collate(this=value, expression=exp.to_identifier("C", quoted=True))
