"""Which table and column every name means, and what type every expression has."""

from collections.abc import Mapping
from typing import cast

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

from residua.access.adql.dialect import AdqlDialect, one_line
from residua.access.adql.errors import AdqlError
from residua.access.adql.meaning.grouping import check_grouping, expand_aliases, expand_positions
from residua.access.adql.meaning.kinds import Meaning, column_meaning
from residua.access.adql.meaning.query_types import describe_query
from residua.access.adql.meaning.trees import inner_query
from residua.access.adql.queryable import TableSchema

__all__ = ["Tables", "resolve"]

type Tables = Mapping[str, TableSchema]
"""By full name in lower case."""


def resolve(tree: exp.Query, tables: Tables) -> exp.Query:
    """Expand stars, give every column its table and every expression its type.

    Columns get ``meta["source"]`` (the `TableSchema`, if it is one directly) and
    ``meta["owner"]`` (`id` of the SELECT in whose FROM it is); see also `describe_query`.

    Raises
    ------
    AdqlError
        A name is unknown, or types do not fit.
    """
    used = _check_tables(tree, tables)
    schema: dict[str, dict[str, dict[str, str]]] = {}
    for table in used:
        columns = {column.name: "TEXT" for column in table.columns}
        schema.setdefault(table.schema.lower(), {})[table.name.lower()] = columns
    for select in tree.find_all(exp.Select):
        expand_aliases(select, _column_names(select, tree, tables))
    try:
        resolved = qualify(
            tree,
            dialect=AdqlDialect,
            schema=cast("dict[str, object]", schema),
            expand_alias_refs=False,
            identify=True,
            validate_qualify_columns=True,
        )
        scope = build_scope(resolved)
    except SqlglotError as e:
        raise AdqlError(one_line(e)) from e
    except RecursionError as e:
        raise AdqlError("the query is nested too deeply") from e
    if scope is None or not isinstance(resolved, exp.Query):
        raise AdqlError("the query selects nothing")
    for node in resolved.find_all(exp.Table):
        if node.db:
            node.meta["schema"] = tables[_full_name(node)]
    for pair in list(resolved.find_all(exp.Coalesce)):
        # How sqlglot writes the columns of USING.
        pair.replace(exp.Anonymous(this="COALESCE", expressions=[pair.this, *pair.expressions]))
    # Innermost first, so that a subquery's columns are known to the outer one.
    for part in scope.traverse():
        query = part.expression
        if isinstance(query, exp.Select):
            expand_positions(query)
        # Its own list of columns may hold some that were replaced.
        for column in query.find_all(exp.Column):
            if column.meta.get("meaning") is None and column.table:
                _settle(column, part)
        if isinstance(query, exp.Select):
            check_grouping(query)
        describe_query(query)
    return resolved


def _settle(column: exp.Column, scope: Scope) -> None:
    current: Scope | None = scope
    while current is not None:
        source = current.sources.get(column.table)
        if source is not None:
            meaning = _column_of(source, column.name)
            if meaning is None:
                return
            column.meta["owner"] = id(current.expression)
            column.meta["meaning"] = meaning
            column.meta["source"] = (
                source.meta.get("schema") if isinstance(source, exp.Table) else None
            )
            return
        current = current.parent


def _column_of(source: exp.Table | Scope, name: str) -> Meaning | None:
    if isinstance(source, exp.Table):
        schema: TableSchema | None = source.meta.get("schema")
        column = schema.column(name) if schema is not None else None
        return column_meaning(column) if column is not None else None
    outputs = inner_query(source.expression).meta.get("outputs") or ()
    return next((meaning for output, meaning in outputs if output == name), None)


def _check_tables(tree: exp.Query, tables: Tables) -> list[TableSchema]:
    names = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    used = []
    for table in tree.find_all(exp.Table):
        if table.args.get("catalog"):
            raise AdqlError(f"no table {table.sql()[:100]}")
        if not table.db and table.name.lower() in names:
            continue
        if _full_name(table) not in tables:
            offered = ", ".join(sorted(t.full_name for t in tables.values()))
            raise AdqlError(f"no table {_full_name(table)[:100]}; there are {offered}")
        # Names of tables are not case-sensitive here, quoted or not.
        table.set("this", exp.to_identifier(table.name.lower()))
        table.set("db", exp.to_identifier(table.db.lower()))
        used.append(tables[_full_name(table)])
    return used


def _full_name(table: exp.Table) -> str:
    return f"{table.db}.{table.name}".lower()


def _column_names(
    select: exp.Select, tree: exp.Query, tables: Tables, depth: int = 0
) -> frozenset[str] | None:
    """Names of the columns of all tables a SELECT reads; `None` if they cannot be told."""
    if depth > 20:
        return None
    names: set[str] = set()
    ctes = {cte.alias.lower(): cte.this for cte in tree.find_all(exp.CTE)}
    start = select.args.get("from_") or select.args.get("from")
    sources = [start.this] if start else []
    sources += [join.this for join in select.args.get("joins") or ()]
    for source in sources:
        if isinstance(source, exp.Table) and source.db:
            table = tables.get(_full_name(source))
            names |= {column.name for column in table.columns} if table else set()
            continue
        alias = source.args.get("alias")
        if alias is not None and alias.args.get("columns"):
            names |= {c.name.lower() for c in alias.args["columns"]}
            continue
        query = ctes.get(source.name.lower()) if isinstance(source, exp.Table) else source
        inner = _outputs(query, tree, tables, depth) if query is not None else None
        if inner is None:
            return None
        names |= inner
    return frozenset(names)


def _outputs(query: exp.Expr, tree: exp.Query, tables: Tables, depth: int) -> frozenset[str] | None:
    inner = inner_query(query)
    while isinstance(inner, exp.SetOperation):
        inner = inner_query(inner.this)
    if not isinstance(inner, exp.Select):
        return None
    names = {p.alias_or_name.lower() for p in inner.selects if not p.is_star}
    if any(p.is_star for p in inner.selects):
        more = _column_names(inner, tree, tables, depth + 1)
        if more is None:
            return None
        names |= more
    return frozenset(names)
