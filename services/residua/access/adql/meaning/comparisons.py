"""What stands beside what: sides of comparisons, and subqueries that stand for values."""

from collections.abc import Sequence

from sqlglot import exp

from residua.access.adql.errors import AdqlError
from residua.access.adql.meaning.kinds import NUMBERS, Meaning, common
from residua.access.adql.meaning.trees import inner_query, short, top_of

__all__ = ["check_compared", "one_column", "outputs_of", "scalar_subquery"]


def outputs_of(query: exp.Expr) -> list[tuple[str, Meaning]]:
    """Return names and meanings of the columns of a query that has been described."""
    outputs: list[tuple[str, Meaning]] = inner_query(query).meta["outputs"]
    return outputs


def one_column(query: exp.Expr, takes: str) -> Meaning:
    """Return the meaning of the one column of a subquery; raise for more, with these words."""
    outputs = outputs_of(query)
    if len(outputs) != 1:
        raise AdqlError(f"{takes} a subquery of one column, not {len(outputs)}")
    return outputs[0][1]


def scalar_subquery(node: exp.Expr) -> Meaning:
    """Describe a subquery that stands for a value."""
    query = inner_query(node)
    outputs = outputs_of(query)
    if len(outputs) != 1:
        raise AdqlError(f"a subquery that stands for a value has {len(outputs)} columns, not one")
    if not _has_one_row(query):
        raise AdqlError(
            "a subquery that stands for a value may have several rows; use an aggregate as MAX, "
            "or SELECT TOP 1"
        )
    return outputs[0][1].alone()


def _has_one_row(query: exp.Expr) -> bool:
    if top_of(query) in {0, 1}:
        return True
    return (
        isinstance(query, exp.Select)
        and query.args.get("group") is None
        and bool(query.meta.get("aggregated"))
    )


def check_compared(node: exp.Expr, meanings: Sequence[Meaning], sides: Sequence[exp.Expr]) -> None:
    """Note in which type sides are compared; raise `AdqlError` for texts and numbers."""
    texts = [s for m, s in zip(meanings, sides, strict=True) if m.kind == "text"]
    numbers = [s for m, s in zip(meanings, sides, strict=True) if m.kind in NUMBERS]
    if texts and numbers:
        raise AdqlError(
            f"{short(texts[0])} is a text and {short(numbers[0])} a number: they cannot be "
            "compared; write both alike, or use CAST"
        )
    node.meta["compared"] = common(meanings, short(node))
    if node.meta["compared"].kind in {"point", "circle", "polygon"}:
        raise AdqlError(f"{short(node)}: geometries are compared with CONTAINS and INTERSECTS")
