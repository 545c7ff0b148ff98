"""Calls of functions, in the words of one database."""

from contextlib import AbstractContextManager
from typing import Protocol

from sqlglot import exp

from residua.access.adql.errors import AdqlError
from residua.access.adql.functions import FUNCTIONS
from residua.access.adql.meaning.expression_types import meaning_of
from residua.access.adql.meaning.geometry_types import CONSTRUCTORS
from residua.access.adql.meaning.kinds import ExpressionKind, Meaning, common
from residua.access.adql.write.arithmetic import arithmetic
from residua.access.adql.write.spatial.geometry import Reader, geometry
from residua.access.adql.write.spatial.spatial_values import scalar
from residua.access.adql.write.words import Argument, cast_to, fixed

__all__ = ["CallWriter", "call"]


class CallWriter(Reader, Protocol):
    """What writes the arguments of a call."""

    dialect: str

    def state(self, *, grouped: bool, open_: bool) -> AbstractContextManager[None]:
        """See `Writer.state`."""
        ...

    def value(self, node: exp.Expr, kind: ExpressionKind | None = None) -> exp.Expr:
        """See `Writer.value`."""
        ...

    def plain(self, node: exp.Expr) -> exp.Expr:
        """See `Writer.plain`."""
        ...

    def argument(self, node: exp.Expr) -> Argument:
        """See `Writer.argument`."""
        ...


def call(node: exp.Anonymous, writer: CallWriter) -> exp.Expr:
    """Write a call of a function."""
    name = node.name.upper()
    if name in CONSTRUCTORS or name in {"REGION", "RESIDUA_RANGE"}:
        geometry(node, writer)
        raise AdqlError(f"{name} can stand in a geometry function or alone in the SELECT list")
    value = scalar(name, node.expressions, writer)
    if value is not None:
        return exp.Paren(this=value)
    if name == "IN_UNIT":
        factor = node.meta["factor"]
        scale = Argument(
            fixed(factor, writer.dialect), Meaning("double", least=abs(factor), most=abs(factor))
        )
        return arithmetic("*", writer.argument(node.expressions[0]), scale, writer.dialect)
    function = FUNCTIONS[name]
    with writer.state(grouped=writer.grouped and not function.aggregate, open_=False):
        arguments = [
            _argument(function.parameter(i), argument, node, writer)
            for i, argument in enumerate(node.expressions)
        ]
    return function.build(writer.dialect, arguments)


def _argument(  # noqa: PLR0911 one for each kind
    taken: str, node: exp.Expr, call_node: exp.Anonymous, writer: CallWriter
) -> Argument:
    if isinstance(node, exp.Star):
        return Argument(exp.Star(), Meaning("long"))
    if isinstance(node, exp.Distinct):
        inner = _argument(taken, node.expressions[0], call_node, writer)
        return Argument(exp.Distinct(expressions=[inner.sql]), inner.meaning)
    meaning = meaning_of(node)
    match taken:
        case "double":
            return Argument(writer.double(node), meaning)
        case "integer":
            return Argument(writer.whole(node), meaning)
        case "text":
            return Argument(writer.text(node), meaning)
        case "same":
            kind = common([meaning_of(a) for a in call_node.expressions], "arguments").kind
            return Argument(writer.value(node, kind), meaning)
        case _:
            if isinstance(node, exp.Null):
                kind = "double" if taken == "number" else "text"
                return Argument(cast_to(exp.Null(), kind), meaning)
            return Argument(writer.plain(node), meaning)
