"""Looking at pieces of a query."""

from sqlglot import exp

__all__ = ["inner_query", "name_of", "own_nodes", "short", "top_of"]


def name_of(node: exp.Expr | None) -> str | None:
    """Name of a function call in upper case."""
    return node.name.upper() if isinstance(node, exp.Anonymous) else None


def short(node: exp.Expr) -> str:
    """Words of an expression for a message."""
    text = " ".join(node.sql(comments=False).replace('"', "").split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def inner_query(node: exp.Expr) -> exp.Expr:
    """Return the query within parentheses."""
    while isinstance(node, exp.Subquery | exp.Paren):
        node = node.this
    return node


def top_of(query: exp.Expr) -> int | None:
    """Rows a query asks for with TOP."""
    limit = query.args.get("limit")
    return int(limit.expression.this) if isinstance(limit, exp.Limit) else None


def own_nodes(root: exp.Expr) -> list[exp.Expr]:
    """All nodes of an expression but those of queries within."""
    found, waiting = [], [root]
    while waiting:
        node = waiting.pop()
        found.append(node)
        waiting += [n for n in node.iter_expressions() if not isinstance(n, exp.Query)]
    return found
