"""From a client's text to a checked tree."""

from sqlglot import exp
from sqlglot.errors import SqlglotError

from residua.access.adql.dialect import AdqlDialect, check_tree, one_line
from residua.access.adql.errors import AdqlError
from residua.access.adql.literals import Query, label_literals

__all__ = ["parse"]


def parse(query: Query) -> exp.Query:
    """Read one SELECT statement, or a set operation of several.

    Raises
    ------
    AdqlError
        It is no such statement.
    """
    try:
        parsed = AdqlDialect().parser().parse(list(query.tokens), query.text)
    except SqlglotError as e:
        raise AdqlError(f"not ADQL: {one_line(e)}") from e
    except RecursionError as e:
        raise AdqlError("the query is nested too deeply") from e
    statements = [statement for statement in parsed if statement is not None]
    if len(statements) != 1:
        raise AdqlError(f"{len(statements)} statements; exactly one SELECT is accepted")
    tree: exp.Expr = statements[0]
    while isinstance(tree, exp.Subquery | exp.Paren) and not tree.args.get("alias"):
        tree = tree.this
    if not isinstance(tree, exp.Select | exp.SetOperation):
        raise AdqlError("only SELECT is accepted")
    label_literals(tree, query.literals)
    check_tree(tree)
    return tree
