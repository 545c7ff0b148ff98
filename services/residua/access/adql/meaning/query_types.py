"""Types of all expressions of a query, checked before any database sees it."""

from sqlglot import exp

from residua.access.adql.errors import AdqlError
from residua.access.adql.meaning.comparisons import outputs_of
from residua.access.adql.meaning.expression_types import (
    describe_condition,
    describe_value,
)
from residua.access.adql.meaning.kinds import common

__all__ = ["describe_query"]


def describe_query(query: exp.Expr) -> None:
    """Find the type of every expression of a query whose columns are known.

    The queries within have been described. Sets ``meta["meaning"]`` of expressions and
    ``meta["outputs"]`` of the query, a list of names and meanings.

    Raises
    ------
    AdqlError
        Types do not fit.
    """
    if isinstance(query, exp.SetOperation):
        _describe_set(query)
    elif isinstance(query, exp.Select):
        _describe_select(query)


def _describe_set(query: exp.SetOperation) -> None:
    word = type(query).__name__.upper()
    if query.args.get("distinct") is False and not isinstance(query, exp.Union):
        raise AdqlError(f"{word} ALL is not offered; write {word}")
    left, right = (outputs_of(side) for side in (query.this, query.expression))
    if len(left) != len(right):
        raise AdqlError(f"{word} of {len(left)} columns with {len(right)}")
    query.meta["outputs"] = [
        (name, common((a, b), f"{word}, column {name}"))
        for (name, a), (_, b) in zip(left, right, strict=True)
    ]
    order = query.args.get("order")
    names = [name for name, _ in query.meta["outputs"]]
    for item in order.expressions if order else ():
        key = item.this
        if isinstance(key, exp.Literal) and not key.is_string:
            _check_position(key, len(names))
        elif not (isinstance(key, exp.Column) and key.name in names):
            raise AdqlError(f"ORDER BY after {word} takes names and numbers of its columns")


def _describe_select(query: exp.Select) -> None:
    where = query.args.get("where")
    if where is not None:
        describe_condition(where.this)
    for join in query.args.get("joins") or ():
        if join.args.get("on") is not None:
            describe_condition(join.args["on"])
    outputs = []
    for projection in query.selects:
        meaning = describe_value(projection.unalias())
        projection.meta["meaning"] = meaning
        outputs.append((projection.alias_or_name, meaning))
    query.meta["outputs"] = outputs
    group = query.args.get("group")
    for key in group.expressions if group else ():
        describe_value(key)
    having = query.args.get("having")
    if having is not None:
        describe_condition(having.this)
    order = query.args.get("order")
    for item in order.expressions if order else ():
        key = item.this
        if isinstance(key, exp.Literal) and not key.is_string:
            _check_position(key, len(outputs))
        elif key.meta.get("meaning") is None and not _is_output(key, query):
            describe_value(key)


def _is_output(key: exp.Expr, query: exp.Select) -> bool:
    if not isinstance(key, exp.Column) or key.table:
        return False
    return any(p.alias_or_name == key.name for p in query.selects)


def _check_position(key: exp.Literal, count: int) -> None:
    if not (key.this.isdigit() and 1 <= int(key.this) <= count):
        raise AdqlError(f"ORDER BY {key.this}: there are {count} columns")
