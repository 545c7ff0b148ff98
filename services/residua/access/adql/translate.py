"""From ADQL to SQL for SQLite or PostgreSQL: one translator for both."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from sqlglot import exp
from sqlglot.errors import SqlglotError

from residua.access.adql.backend import BACKENDS
from residua.access.adql.dialect import parse
from residua.access.adql.errors import AdqlError
from residua.access.adql.expressions import Backend, CircleExpression, PointExpression
from residua.access.adql.functions import build_function
from residua.access.adql.geometry import (
    CONSTRUCTORS,
    constant,
    distance_points,
    geometry,
    name_of,
    predicate,
    scalar,
)
from residua.access.adql.kinds import result_column
from residua.access.adql.resolve import Tables, resolve
from residua.access.adql.schema import ColumnSchema, TableSchema
from residua.sphere.regions import Circle, Point

__all__ = ["Database", "Translation", "translate"]

type Database = Literal["sqlite", "postgresql"]


@dataclass(frozen=True)
class Translation:
    """A statement and what it returns.

    Parameters
    ----------
    sql
        One SELECT without parameters.
    columns
        Meaning of the result's columns, in order.
    limit
        Rows the query itself asks for with TOP; `None` for all.
    """

    sql: str
    columns: tuple[ColumnSchema, ...]
    limit: int | None


def translate(
    adql: str, tables: Iterable[TableSchema], database: Database, *, max_rows: int | None = None
) -> Translation:
    """Translate a query.

    Parameters
    ----------
    adql
        What the client wrote.
    tables
        What may be queried; every other table does not exist.
    database
        Whose SQL is wanted.
    max_rows
        Largest number of rows the statement may return.

    Raises
    ------
    AdqlError
        It is not ADQL, or names a table, column or function that is not offered.
    """
    by_name = {table.full_name.lower(): table for table in tables}
    tree = parse(adql)
    try:
        return _translate(tree, by_name, BACKENDS[database], max_rows)
    except RecursionError as e:
        raise AdqlError("the query is nested too deeply") from e
    except SqlglotError as e:
        raise AdqlError(f"not ADQL: {str(e)[:300]}") from e


def _translate(
    tree: exp.Query, tables: Tables, backend: Backend, max_rows: int | None
) -> Translation:
    names = _name_projections(tree)
    tree, _ = resolve(tree, tables)
    columns = tuple(
        replace(result_column(projection), name=name)
        for projection, name in zip(tree.selects, _all_names(names, tree), strict=True)
    )
    top = tree.args.get("limit")
    limit = int(top.expression.this) if isinstance(top, exp.Limit) else None
    _check_concatenations(tree)
    rewriter = _Rewriter(backend)
    for select in tree.find_all(exp.Select):
        rewriter.outermost(select)
    rewriter.rewrite(tree)
    if max_rows is not None and (limit is None or limit > max_rows):
        tree.set("limit", exp.Limit(expression=exp.Literal.number(max_rows)))
    inlined = _place_tables(tree)
    # Comments are the only words of the client that were not looked at.
    sql = tree.sql(dialect=backend.dialect, comments=False, copy=False)
    return Translation(_with_rows(sql, inlined, backend.dialect), columns, limit)


def _name_projections(tree: exp.Query) -> list[str | None]:
    """Give every result column a name; `None` stands for a star."""
    names: list[str | None] = []
    for i, projection in enumerate(tree.selects):
        if projection.is_star and not isinstance(projection, exp.Anonymous):
            names.append(None)
        elif isinstance(projection, exp.Alias | exp.Column):
            names.append(projection.alias_or_name)
        else:
            function = name_of(projection)
            name = function.lower() if function else f"column_{i + 1}"
            if name in names:
                name = f"{name}_{i + 1}"
            if isinstance(tree, exp.Select):
                projection.replace(exp.alias_(projection.copy(), name, quoted=True))
            names.append(name)
    return names


def _all_names(names: list[str | None], tree: exp.Query) -> list[str]:
    if None in names or len(names) != len(tree.selects):
        return [projection.alias_or_name for projection in tree.selects]
    # As the client wrote them, not as they were normalised.
    return [name or "" for name in names]


def _check_concatenations(tree: exp.Query) -> None:
    """Keep texts as short as the query and its columns: no doubling through subqueries."""
    for node in tree.find_all(exp.DPipe):
        for column in node.find_all(exp.Column):
            if column.meta.get("source") is None:
                raise AdqlError(
                    f"|| takes columns of tables; {column.name} is one of a subquery. Put the "
                    "texts together in the outermost SELECT"
                )


class _Rewriter:
    """Replaces functions, from the outside in, by the database's own."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def outermost(self, select: exp.Select) -> None:
        """Let geometries stand alone in a SELECT list: their value is their numbers."""
        if select.parent is not None and not isinstance(select.parent, exp.SetOperation):
            return
        for projection in select.selects:
            inner = projection.unalias()
            if name_of(inner) in CONSTRUCTORS:
                inner.replace(self._text(inner))

    def rewrite(self, node: exp.Expr) -> exp.Expr:
        """Return the node in the database's words; the node itself may be changed."""
        if isinstance(node, exp.EQ):
            test = self._equals(node)
            if test is not None:
                return test
        if isinstance(node, exp.LT | exp.LTE):
            near = self._nearer(node)
            if near is not None:
                return near
        if isinstance(node, exp.Anonymous) and not node.meta.get("sql"):
            return self._function(node)
        for key, value in list(node.args.items()):
            if isinstance(value, exp.Expr):
                node.set(key, self.rewrite(value))
            elif isinstance(value, list):
                node.set(key, [self.rewrite(v) if isinstance(v, exp.Expr) else v for v in value])
        if isinstance(node, exp.Div):
            # Division by zero gives NULL in SQLite: let PostgreSQL do the same.
            zero = exp.Literal.number(0)
            node.set("expression", exp.Nullif(this=node.expression, expression=zero))
        return node

    def _function(self, node: exp.Anonymous) -> exp.Expr:
        name = node.name.upper()
        if name in CONSTRUCTORS or name in {"REGION", "RESIDUA_RANGE"}:
            geometry(node, self.rewrite)
            raise AdqlError(f"{name} can stand in a geometry function or alone in the SELECT list")
        value = scalar(name, node.expressions, self.rewrite, self.backend)
        if value is not None:
            return exp.Paren(this=value)
        arguments = [self.rewrite(argument) for argument in node.expressions]
        return build_function(name, self.backend.dialect, arguments)

    def _equals(self, node: exp.EQ) -> exp.Expr | None:
        for call, number in ((node.this, node.expression), (node.expression, node.this)):
            name = name_of(call)
            if name in {"CONTAINS", "INTERSECTS"} and constant(number) in {0.0, 1.0}:
                test = predicate(name, call.expressions, self.rewrite, self.backend)
                if constant(number) == 0.0:
                    return exp.Not(this=exp.Paren(this=test))
                return exp.Paren(this=test)
        return None

    def _nearer(self, node: exp.LT | exp.LTE) -> exp.Expr | None:
        limit = constant(node.expression)
        if name_of(node.this) != "DISTANCE" or limit is None or not 0.0 <= limit <= 180.0:
            return None
        a, b = distance_points(node.this.expressions, self.rewrite)
        test = type(node)(this=self.backend.distance(a, b), expression=node.expression)
        for fixed, moving in ((a, b), (b, a)):
            if isinstance(fixed, Point) and isinstance(moving, PointExpression):
                near = self.backend.near(moving, Circle(fixed.ra, fixed.dec, limit))
                if near is not None:
                    return exp.Paren(this=exp.And(this=near, expression=test))
        return exp.Paren(this=test)

    def _text(self, node: exp.Expr) -> exp.Expr:
        """Text of a constructor's numbers, separated by blanks."""
        region = geometry(node, self.rewrite)
        if isinstance(region, PointExpression):
            parts = [region.ra, region.dec]
        elif isinstance(region, CircleExpression):
            parts = [region.center.ra, region.center.dec, region.radius]
        else:
            numbers = " ".join(str(region).split()[2:])
            return exp.Literal.string(numbers)
        words = [exp.cast(part.copy(), "TEXT") for part in parts]
        text: exp.Expr = words[0]
        for word in words[1:]:
            text = exp.DPipe(this=text, expression=exp.Literal.string(" "))
            text = exp.DPipe(this=text, expression=word)
        return _finished(text)


def _finished(node: exp.Expr) -> exp.Expr:
    """Mark the calls in SQL of ours, which the rewriting must leave alone."""
    for call in node.find_all(exp.Anonymous):
        call.meta["sql"] = True
    return node


def _place_tables(tree: exp.Query) -> list[TableSchema]:
    """Give tables their names in the database; return those whose rows the query must bring."""
    inlined: dict[str, TableSchema] = {}
    for table in list(tree.find_all(exp.Table)):
        schema: TableSchema | None = table.meta.get("schema")
        if schema is None:
            continue
        alias = table.args.get("alias") or exp.TableAlias(this=exp.to_identifier(table.name))
        table.set("this", exp.to_identifier(schema.sql, quoted=True))
        table.set("db", None)
        table.set("alias", alias)
        if schema.rows is not None:
            inlined[schema.sql] = schema
    return list(inlined.values())


def _with_rows(sql: str, tables: list[TableSchema], dialect: str) -> str:
    if not tables:
        return sql
    parts = ", ".join(f'"{table.sql}" AS ({_rows_sql(table, dialect)})' for table in tables)
    if sql.startswith("WITH "):
        return f"WITH {parts}, {sql[5:]}"
    return f"WITH {parts} {sql}"


def _rows_sql(table: TableSchema, dialect: str) -> str:
    types = {"int": "INTEGER", "long": "BIGINT", "text": "TEXT", "double": "DOUBLE PRECISION"}
    head = ", ".join(
        f'CAST(NULL AS {types.get(column.kind, "TEXT")}) AS "{column.name}"'
        for column in table.columns
    )
    # The first, empty row gives the types; it is not part of the table.
    rows = [f"SELECT {head} WHERE 1 = 0"]
    for row in table.rows or ():
        values = ", ".join(
            exp.convert(value).sql(dialect=dialect) if value is not None else "NULL"
            for value in row
        )
        rows.append(f"SELECT {values}")
    return " UNION ALL ".join(rows)
