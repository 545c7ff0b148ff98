"""Rules of GROUP BY, DISTINCT and aggregates, the same for both databases."""

from collections.abc import Iterable, Sequence

from sqlglot import exp

from residua.access.adql.errors import AdqlError
from residua.access.adql.functions import FUNCTIONS
from residua.access.adql.meaning.trees import name_of, own_nodes, short

__all__ = ["AGGREGATE_NAMES", "check_grouping", "expand_aliases", "expand_positions"]

AGGREGATE_NAMES = frozenset(name for name, f in FUNCTIONS.items() if f.aggregate)
"""Functions that make one value of many rows."""


def expand_aliases(select: exp.Select, columns: frozenset[str] | None) -> None:
    """Let GROUP BY name what the SELECT list calls by a name of its own.

    Parameters
    ----------
    columns
        Names of the columns of the tables; they come first. `None` if they are not known.
    """
    group = select.args.get("group")
    if group is None or columns is None:
        return
    named = {
        p.alias.lower(): p.this for p in select.selects if isinstance(p, exp.Alias) and p.alias
    }
    for key in list(group.expressions):
        if isinstance(key, exp.Column) and not key.table:
            name = key.name.lower()
            if name in named and name not in columns:
                key.replace(named[name].copy())


def expand_positions(select: exp.Select) -> None:
    """Put expressions where GROUP BY has numbers, and where others name results."""
    group = select.args.get("group")
    for key in list(group.expressions) if group else ():
        if isinstance(key, exp.Literal) and not key.is_string:
            i = int(key.this) if key.this.isdigit() else 0
            if not 1 <= i <= len(select.selects):
                raise AdqlError(f"GROUP BY {key.this}: there are {len(select.selects)} columns")
            key.replace(select.selects[i - 1].unalias().copy())
    named = {p.alias_or_name: p for p in select.selects}
    having = select.args.get("having")
    order = select.args.get("order")
    roots = [having.this] if having else []
    roots += [
        item.this for item in order.expressions if not isinstance(item.this, exp.Column)
    ] if order else []  # fmt: skip
    for root in roots:
        for node in own_nodes(root):
            if isinstance(node, exp.Column) and not node.table and node.name in named:
                node.replace(named[node.name].unalias().copy())


def check_grouping(select: exp.Select) -> None:
    """Refuse aggregates where there are none, and columns that have many values.

    Sets ``meta["aggregated"]`` of the query.
    """
    where = select.args.get("where")
    joins = [join.args["on"] for join in select.args.get("joins") or () if join.args.get("on")]
    group = select.args.get("group")
    keys: Sequence[exp.Expr] = group.expressions if group else ()
    for place, roots in (
        ("WHERE", [where.this] if where else []), ("ON", joins), ("GROUP BY", list(keys)),
    ):  # fmt: skip
        for call in _aggregates(roots):
            raise AdqlError(f"{short(call)} cannot stand in {place}; conditions on aggregates "
                            "follow HAVING")  # fmt: skip
    for key in keys:
        if not list(key.find_all(exp.Column)):
            raise AdqlError(f"GROUP BY {short(key)}: that is the same for all rows")
    having = select.args.get("having")
    order = select.args.get("order")
    roots = [p.unalias() for p in select.selects]
    roots += [having.this] if having else []
    roots += [item.this for item in order.expressions] if order else []
    calls = list(_aggregates(roots))
    for call in calls:
        inner = [n for argument in call.expressions for n in _aggregates([argument])]
        if inner:
            raise AdqlError(f"{short(call)}: aggregates cannot be nested")
        _check_own_columns(call, select)
    grouped = bool(keys or calls or having)
    select.meta["aggregated"] = grouped
    if grouped:
        for root in roots:
            _check_grouped(root, keys, select)
    if select.args.get("distinct") is not None and order:
        _check_distinct_order(select, order)


def _aggregates(roots: Iterable[exp.Expr]) -> Iterable[exp.Expr]:
    for root in roots:
        for node in own_nodes(root):
            if name_of(node) in AGGREGATE_NAMES:
                yield node


def _check_own_columns(call: exp.Expr, select: exp.Select) -> None:
    columns = list(call.find_all(exp.Column))
    if columns and not any(column.meta.get("owner") == id(select) for column in columns):
        raise AdqlError(f"{short(call)} takes columns of its own query, not of the one around it")


def _check_grouped(node: exp.Expr, keys: Sequence[exp.Expr], select: exp.Select) -> None:
    if any(node == key for key in keys) or name_of(node) in AGGREGATE_NAMES:
        return
    if isinstance(node, exp.Column) and node.meta.get("owner") == id(select):
        raise AdqlError(
            f"the column {node.name} is neither in GROUP BY nor in an aggregate as MIN or AVG"
        )
    for child in node.iter_expressions():
        _check_grouped(child, keys, select)


def _check_distinct_order(select: exp.Select, order: exp.Order) -> None:
    shown = [p.unalias() for p in select.selects]
    names = {p.alias_or_name for p in select.selects}
    for item in order.expressions:
        key = item.this
        known = isinstance(key, exp.Literal) or any(key == s for s in shown)
        if not known and not (isinstance(key, exp.Column) and not key.table and key.name in names):
            raise AdqlError(f"ORDER BY {short(key)}: with DISTINCT, only what is selected")
