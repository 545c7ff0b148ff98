"""ADQL for sqlglot: everything that could act is refused by not being listed."""

from typing import Any, ClassVar

from sqlglot import exp, parser, tokens
from sqlglot.dialects.dialect import Dialect
from sqlglot.tokenizer_core import TokenType

from residua.access.adql.errors import AdqlError

__all__ = ["AdqlDialect", "check_tree", "one_line"]

_MAX_DEPTH = 450


class AdqlDialect(Dialect):
    """ADQL 2.0 and the parts of 2.1 that clients use."""

    TYPED_DIVISION = True

    class Tokenizer(tokens.Tokenizer):
        """Quotes as in SQL-92, and TOP."""

        IDENTIFIERS: ClassVar[list[str | tuple[str, str]]] = ['"']
        KEYWORDS: ClassVar[dict[str, TokenType]] = {
            **tokens.Tokenizer.KEYWORDS,
            "TOP": TokenType.TOP,
        }

    class Parser(parser.Parser):
        """No function has a meaning yet: all become `exp.Anonymous` and are looked up later."""

        FUNCTIONS: ClassVar[dict[str, Any]] = {}
        NO_PAREN_FUNCTIONS: ClassVar[dict[Any, Any]] = {}
        FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
            "CAST": parser.Parser.FUNCTION_PARSERS["CAST"],
        }


_ALLOWED: frozenset[type[exp.Expr]] = frozenset(
    {
        exp.Select, exp.Union, exp.Intersect, exp.Except, exp.Subquery, exp.CTE, exp.With,
        exp.From, exp.Join, exp.Where, exp.Group, exp.Having, exp.Order, exp.Ordered, exp.Limit,
        exp.Offset, exp.Distinct, exp.Table, exp.TableAlias, exp.Alias, exp.Column,
        exp.Identifier, exp.Star, exp.Literal, exp.Null, exp.And, exp.Or, exp.Not, exp.Paren,
        exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.In, exp.Between, exp.Like,
        exp.ILike, exp.Exists, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Neg, exp.DPipe, exp.Case,
        exp.If, exp.Cast, exp.DataType, exp.DataTypeParam, exp.Anonymous, exp.All, exp.Any,
    }
)  # fmt: skip

_ALLOWED_FLAGS = frozenset(
    {
        (exp.Literal, "this"), (exp.Literal, "is_string"), (exp.Identifier, "this"),
        (exp.Identifier, "quoted"), (exp.Anonymous, "this"), (exp.Join, "side"),
        (exp.Join, "kind"), (exp.Union, "distinct"), (exp.Intersect, "distinct"),
        (exp.Except, "distinct"), (exp.Ordered, "desc"), (exp.Ordered, "nulls_first"),
        (exp.DataType, "this"), (exp.Div, "typed"), (exp.DPipe, "safe"), (exp.Like, "negate"),
    }
)  # fmt: skip

_CAST_TYPES = frozenset({"INT", "SMALLINT", "BIGINT", "FLOAT", "DOUBLE", "CHAR", "VARCHAR", "TEXT"})


def check_tree(tree: exp.Expr) -> None:
    """Refuse what is not part of the language; raises `AdqlError`."""
    _check_depth(tree)
    for node in tree.walk():
        _check(node)


def _check_depth(tree: exp.Expr) -> None:
    # Resolving names takes time with the square of the depth: seconds, for thousands of OR.
    level: list[exp.Expr] = [tree]
    for _ in range(_MAX_DEPTH):
        level = [child for node in level for child in node.iter_expressions()]
        if not level:
            return
    raise AdqlError(
        f"the query is nested too deeply: {_MAX_DEPTH} levels are accepted; write many "
        "alternatives as IN (...)"
    )


def _check(node: exp.Expr) -> None:
    kind = type(node)
    if kind not in _ALLOWED:
        raise AdqlError(f"{kind.__name__.upper()} is not part of the ADQL offered here")
    if isinstance(node, exp.Join) and node.args.get("method"):
        raise AdqlError(
            f"{str(node.args['method']).upper()} JOIN is not offered; name the columns: "
            "JOIN ... USING (column), or ON a.column = b.column"
        )
    for name, value in node.args.items():
        values = value if isinstance(value, list) else [value]
        if any(v and not isinstance(v, exp.Expr) for v in values) and (
            (kind, name) not in _ALLOWED_FLAGS
        ):
            raise AdqlError(f"{kind.__name__} with {name} is not part of the ADQL offered here")
    if isinstance(node, exp.Select) and not node.expressions:
        raise AdqlError("SELECT selects nothing")
    if isinstance(node, exp.Table) and not isinstance(node.this, exp.Identifier):
        raise AdqlError("only tables and subqueries may stand after FROM")
    if isinstance(node, exp.DataType) and node.this.value not in _CAST_TYPES:
        raise AdqlError(f"no CAST to {node.this.value}; there are {', '.join(sorted(_CAST_TYPES))}")
    if isinstance(node, exp.Identifier) and node.this.lower().startswith("residua_"):
        raise AdqlError(f"the name {node.this!r} is reserved")
    if isinstance(node, exp.Limit | exp.Offset) and not (
        isinstance(node.expression, exp.Literal) and node.expression.this.isdigit()
    ):
        raise AdqlError("TOP and OFFSET take a whole number")


def one_line(error: Exception) -> str:
    """Message of sqlglot without the terminal codes that underline the place."""
    text = str(error).replace("\x1b[4m", "").replace("\x1b[0m", "")
    return " ".join(text.split())[:500]
