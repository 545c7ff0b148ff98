"""From ADQL to SQL for SQLite or PostgreSQL: one translator for both."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal as OneOf

from sqlglot import exp
from sqlglot.errors import SqlglotError

from residua.access.adql.errors import AdqlError
from residua.access.adql.literals import Literal, Query, read_literals
from residua.access.adql.meaning.constants import Values
from residua.access.adql.meaning.kinds import result_column
from residua.access.adql.meaning.trees import name_of
from residua.access.adql.parse import parse
from residua.access.adql.queryable import ColumnSchema, TableSchema, UploadedTable
from residua.access.adql.resolve import Tables, resolve
from residua.access.adql.write.bindings import ROW_LIMIT, Binding, name_parameters, row_limit
from residua.access.adql.write.spatial.backend import BACKENDS
from residua.access.adql.write.spatial.expressions import Backend, Guard
from residua.access.adql.write.sql_writer import Writer
from residua.sphere.regions import RegionError

__all__ = ["Database", "Statement", "Translation", "translate", "translate_query"]

type Database = OneOf["sqlite", "postgresql"]


@dataclass(frozen=True)
class Translation:
    """A statement and what it returns.

    Parameters
    ----------
    sql
        One SELECT.
    parameters
        Values of the statement's parameters, by name.
    columns
        Meaning of the result's columns, in order.
    limit
        Rows the query itself asks for with TOP; `None` for all.
    uploads
        Tables that must be there while it runs.
    """

    sql: str
    parameters: Mapping[str, float | str]
    columns: tuple[ColumnSchema, ...]
    limit: int | None
    uploads: tuple[UploadedTable, ...] = ()


@dataclass(frozen=True)
class Statement:
    """A statement that serves all queries of a shape.

    Parameters
    ----------
    pinned
        Literals whose values are part of the statement, by number.
    guards
        Conditions on the others.
    """

    sql: str
    binding: Binding
    columns: tuple[ColumnSchema, ...]
    limit: int | None
    pinned: Mapping[int, Literal]
    guards: tuple[Guard, ...]

    def serves(self, literals: Values) -> bool:
        """Whether the statement also serves a query of the same shape with other literals."""
        if any(literals[i] != literal for i, literal in self.pinned.items()):
            return False
        try:
            return all(guard(literals) for guard in self.guards)
        except RegionError:
            return False

    def translation(self, literals: Values, max_rows: int | None) -> Translation:
        """Fill in a query's literals, and the most rows it may return.

        Raises
        ------
        AdqlError
            The literals make no region.
        """
        try:
            values = self.binding.values(literals)
        except RegionError as e:
            raise AdqlError(str(e)) from e
        if max_rows is not None:
            values[ROW_LIMIT] = max_rows if self.limit is None else min(self.limit, max_rows)
        return Translation(self.sql, values, self.columns, self.limit)


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
    query = read_literals(adql)
    statement = translate_query(query, tables, database, limited=max_rows is not None)
    return statement.translation(query.literals, max_rows)


def translate_query(
    query: Query, tables: Iterable[TableSchema], database: Database, *, limited: bool
) -> Statement:
    """Translate the shape of a query; see `translate`.

    Parameters
    ----------
    limited
        Whether the number of its rows is a parameter.
    """
    by_name = {table.full_name.lower(): table for table in tables}
    tree = parse(query)
    try:
        return _translate(tree, query, by_name, BACKENDS[database](), limited=limited)
    except RecursionError as e:
        raise AdqlError("the query is nested too deeply") from e
    except SqlglotError as e:
        raise AdqlError(f"not ADQL: {str(e)[:300]}") from e


def _translate(
    tree: exp.Query, query: Query, tables: Tables, backend: Backend, *, limited: bool
) -> Statement:
    names = _name_projections(tree)
    tree = resolve(tree, tables)
    columns = tuple(
        result_column(meaning, name)
        for (_, meaning), name in zip(tree.meta["outputs"], _all_names(names, tree), strict=True)
    )
    top = tree.args.get("limit")
    limit = int(top.expression.this) if isinstance(top, exp.Limit) else None
    _check_concatenations(tree)
    Writer(backend).query(tree, outermost=True)
    if limited:
        tree.set("limit", exp.Limit(expression=row_limit(backend.dialect)))
    inlined = _place_tables(tree)
    binding = name_parameters(tree)
    # Comments are the only words of the client that were not looked at.
    sql = tree.sql(dialect=backend.dialect, comments=False, copy=False)
    pinned = {i: x for i, x in enumerate(query.literals) if i not in binding.slots}
    return Statement(
        _with_rows(sql, inlined, backend.dialect),
        binding,
        columns,
        limit,
        pinned,
        tuple(backend.guards),
    )


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
    text = " UNION ALL ".join(rows)
    # psycopg takes a percent sign for a parameter.
    return text.replace("%", "%%") if dialect == "postgres" else text
