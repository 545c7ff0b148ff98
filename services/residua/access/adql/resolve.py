"""Which table and column every name means."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

from residua.access.adql.dialect import AdqlDialect
from residua.access.adql.errors import AdqlError
from residua.access.adql.schema import ColumnSchema, TableSchema

__all__ = ["Tables", "resolve"]

type Tables = Mapping[str, TableSchema]
"""By full name in lower case."""


def resolve(tree: exp.Query, tables: Tables) -> tuple[exp.Query, Scope]:
    """Expand stars, give every column its table, and refuse unknown names.

    Columns get ``meta["source"]`` (the `TableSchema`, if it is one directly) and
    ``meta["column"]`` (the `ColumnSchema` it comes from, through any subqueries).
    """
    _check_tables(tree, tables)
    schema: dict[str, dict[str, dict[str, str]]] = {}
    for table in tables.values():
        columns = {column.name: "TEXT" for column in table.columns}
        schema.setdefault(table.schema.lower(), {})[table.name.lower()] = columns
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
        raise AdqlError(_message(e)) from e
    except RecursionError as e:
        raise AdqlError("the query is nested too deeply") from e
    if scope is None or not isinstance(resolved, exp.Query):
        raise AdqlError("the query selects nothing")
    for node in resolved.find_all(exp.Table):
        if node.db:
            node.meta["schema"] = tables[_full_name(node)]
    # Innermost first, so that the origin of a subquery's column is known to the outer one.
    for part in scope.traverse():
        for column in part.columns:
            source = _source(part, column.table)
            column.meta["source"] = source if isinstance(source, TableSchema) else None
            column.meta["column"] = _origin(source, column.name)
    return resolved, scope


def _check_tables(tree: exp.Query, tables: Tables) -> None:
    names = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
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


def _full_name(table: exp.Table) -> str:
    return f"{table.db}.{table.name}".lower()


def _source(scope: Scope, name: str) -> TableSchema | Scope | None:
    current: Scope | None = scope
    while current is not None:
        source = current.sources.get(name)
        if isinstance(source, Scope):
            return source
        if isinstance(source, exp.Table):
            return cast("TableSchema | None", _schema_of(source))
        current = current.parent
    return None


def _schema_of(table: exp.Table) -> Any:
    return table.meta.get("schema")


def _origin(source: TableSchema | Scope | None, name: str) -> ColumnSchema | None:
    if isinstance(source, TableSchema):
        return source.column(name)
    if isinstance(source, Scope):
        for projection in _projections(source.expression):
            if projection.alias_or_name == name:
                inner = projection.unalias()
                if isinstance(inner, exp.Column):
                    return cast("ColumnSchema | None", inner.meta.get("column"))
    return None


def _projections(query: exp.Expr) -> Iterator[exp.Expr]:
    if isinstance(query, exp.Query):
        yield from query.selects


def _message(error: SqlglotError) -> str:
    return " ".join(str(error).replace("\x1b[4m", "").replace("\x1b[0m", "").split())[:500]
