"""From a checked query to the words of one database."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlglot import exp

from residua.access.adql.errors import AdqlError
from residua.access.adql.meaning.constants import Number, number_of
from residua.access.adql.meaning.expression_types import meaning_of
from residua.access.adql.meaning.geometry_types import CONSTRUCTORS
from residua.access.adql.meaning.kinds import ExpressionKind, Meaning
from residua.access.adql.meaning.trees import inner_query, name_of
from residua.access.adql.write.arithmetic import OPERATORS, arithmetic, negated
from residua.access.adql.write.calls import call
from residua.access.adql.write.casts import cast_as
from residua.access.adql.write.conditions import ConditionWriter
from residua.access.adql.write.literal_sql import literal, own_number, parameter
from residua.access.adql.write.ordering import c_collated, collate, positions_of, select_all
from residua.access.adql.write.spatial.expressions import Backend
from residua.access.adql.write.spatial.geometry import geometry
from residua.access.adql.write.spatial.numbers_text import numbers_text
from residua.access.adql.write.words import (
    Argument,
    as_kind,
    as_long,
    cast_to,
    fixed,
    is_postgres,
)  # fmt: skip

__all__ = ["Writer"]


class Writer:
    """Replaces every part of a query, from the outside in, by the database's own words.

    Parameters
    ----------
    backend
        The database's spatial words.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.dialect = backend.dialect
        self.grouped = False
        # Whether literals may become parameters that other queries fill with their own.
        self.open = False
        self.conditions = ConditionWriter(self)

    def query(
        self,
        node: exp.Expr,
        wanted: Sequence[ExpressionKind] | None = None,
        *,
        outermost: bool = False,
    ) -> exp.Expr:
        """Write a query in place.

        Parameters
        ----------
        wanted
            Types its columns must have; `None` for their own.
        outermost
            Whether its columns are those of the result.
        """
        query = inner_query(node)
        with_clause = query.args.get("with_") or query.args.get("with")
        for cte in with_clause.expressions if with_clause else ():
            self.query(cte.this)
        if wanted is None:
            wanted = [meaning.kind for _, meaning in query.meta["outputs"]]
        with self.state(grouped=False, open_=False):
            if isinstance(query, exp.SetOperation):
                self._set_operation(query, wanted, outermost=outermost)
            elif isinstance(query, exp.Select):
                self._select(query, wanted, outermost=outermost)
        return node

    def value(self, node: exp.Expr, kind: ExpressionKind | None = None) -> exp.Expr:
        """Write a value, as one of a type."""
        meaning = meaning_of(node)
        if kind is None or kind == meaning.kind:
            return self.plain(node)
        if kind == "double" and (constant := own_number(node)) is not None:
            return fixed(float(constant), self.dialect)
        if isinstance(node, exp.Null):
            return cast_to(exp.Null(), "text" if kind == "null" else kind)
        return as_kind(Argument(self.plain(node), meaning), kind, self.dialect)

    def operand(self, node: exp.Expr, kind: ExpressionKind) -> exp.Expr:
        """Write a side of a comparison; in WHERE its literal may be another query's."""
        if self.open and not node.meta.get("pinned"):
            shared = parameter(node, kind, self.dialect)
            if shared is not None:
                return shared
        if kind in {"int", "long"} and meaning_of(node).is_whole:
            return self.plain(node)
        return self.value(node, kind)

    def number(self, node: exp.Expr) -> Number | None:
        """See `Reader.number`."""
        found = number_of(node)
        if found is None or self.open:
            return found
        value = found.value
        return Number(value, lambda _: value, frozenset())

    def double(self, node: exp.Expr) -> exp.Expr:
        """See `Reader.double`."""
        return self.value(node, "double")

    def whole(self, node: exp.Expr) -> exp.Expr:
        """See `Reader.whole`."""
        return as_long(Argument(self.plain(node), meaning_of(node)), self.dialect)

    def text(self, node: exp.Expr) -> exp.Expr:
        """See `Reader.text`."""
        return self.value(node, "text")

    @contextmanager
    def state(self, *, grouped: bool, open_: bool) -> Iterator[None]:
        """Write what stands inside in this state; after it the state is what it was."""
        before = self.grouped, self.open
        self.grouped, self.open = grouped, open_
        try:
            yield
        finally:
            self.grouped, self.open = before

    def _set_operation(
        self, query: exp.SetOperation, wanted: Sequence[ExpressionKind], *, outermost: bool
    ) -> None:
        order = query.args.get("order")
        positions = positions_of(order, query)
        for key in ("this", "expression"):
            side = query.args[key]
            self.query(side, wanted, outermost=outermost)
            inner = inner_query(side)
            if isinstance(inner, exp.Select):
                collate(inner, wanted, positions, self.dialect)
            if not isinstance(side, exp.Select) or side.args.get("limit") or side.args.get("order"):
                # SQLite knows no parentheses here, and both read mixed operations differently.
                query.set(key, select_all(inner))
        if order:
            self._order(order, positions)

    def _select(
        self, select: exp.Select, wanted: Sequence[ExpressionKind], *, outermost: bool
    ) -> None:
        start = select.args.get("from_") or select.args.get("from")
        joins = select.args.get("joins") or ()
        for source in ([start.this] if start else []) + [join.this for join in joins]:
            if isinstance(source, exp.Subquery):
                self.query(source)
        grouped = bool(select.meta.get("aggregated"))
        order = select.args.get("order")
        positions = positions_of(order, select)
        where = select.args.get("where")
        with self.state(grouped=False, open_=True):
            if where is not None:
                where.set("this", self.conditions.write(where.this, positive=True))
            for join in joins:
                if join.args.get("on") is not None:
                    join.set("on", self.conditions.write(join.args["on"], positive=True))
        with self.state(grouped=grouped, open_=False):
            group = select.args.get("group")
            if group:
                group.set("expressions", [self.value(key) for key in group.expressions])
            having = select.args.get("having")
            if having:
                having.set("this", self.conditions.write(having.this, positive=False))
            if order:
                self._order(order, positions)
            projections = [
                self._projection(p, kind, outermost=outermost)
                for p, kind in zip(select.selects, wanted, strict=True)
            ]
        select.set("expressions", projections)
        collate(select, wanted, positions, self.dialect)

    def _projection(
        self, projection: exp.Expr, kind: ExpressionKind, *, outermost: bool
    ) -> exp.Expr:
        inner = projection.unalias()
        if name_of(inner) in CONSTRUCTORS and outermost:
            value = numbers_text(geometry(inner, self), self.dialect)
        else:
            value = self.value(inner, "text" if kind == "null" else kind)
        return exp.alias_(value, projection.alias_or_name, quoted=True, copy=False)

    def _order(self, order: exp.Order, positions: dict[int, int]) -> None:
        for i, item in enumerate(order.expressions):
            if i in positions:
                item.set("this", exp.Literal.number(positions[i] + 1))
                continue
            kind = meaning_of(item.this).kind
            if not list(item.this.find_all(exp.Column)):
                raise AdqlError("ORDER BY takes columns, not constants")
            value = self.value(item.this)
            if kind == "text" and is_postgres(self.dialect):
                value = c_collated(value)
            item.set("this", value)

    def plain(self, node: exp.Expr) -> exp.Expr:  # noqa: PLR0911 one for each kind
        """Write a value, as one of its own type."""
        match node:
            case exp.Literal():
                return literal(node, self.dialect)
            case exp.Null() | exp.Column():
                return node.copy()
            case exp.Paren():
                return exp.Paren(this=self.plain(node.this))
            case exp.Neg():
                constant = own_number(node)
                if constant is not None:
                    return fixed(constant, self.dialect)
                return negated(self.argument(node.this), self.dialect)
            case exp.Add() | exp.Sub() | exp.Mul() | exp.Div():
                sides = self.argument(node.this), self.argument(node.expression)
                return arithmetic(OPERATORS[type(node)], *sides, self.dialect)
            case exp.DPipe():
                left, right = self.text(node.this), self.text(node.expression)
                return exp.Paren(this=exp.DPipe(this=left, expression=right, safe=True))
            case exp.Cast():
                return cast_as(self.argument(node.this), node.to, self.dialect)
            case exp.Case():
                return self._case(node)
            case exp.Subquery() | exp.Select() | exp.SetOperation():
                query = inner_query(node)
                return exp.Subquery(this=self.query(query))
            case exp.Anonymous():
                return call(node, self)
            case _:
                raise AdqlError(f"{type(node).__name__.upper()} cannot stand here")

    def argument(self, node: exp.Expr) -> Argument:
        """Write a value, and say what is known of it."""
        return Argument(self.plain(node), meaning_of(node))

    def _case(self, node: exp.Case) -> exp.Expr:
        kind = meaning_of(node).kind
        wanted: ExpressionKind = "text" if kind == "null" else kind
        result = exp.Case()
        compared: Meaning | None = node.meta.get("compared")
        if node.this is not None and compared is not None:
            result.set("this", self.value(node.this, compared.kind))
        ifs = []
        for part in node.args["ifs"]:
            if compared is not None:
                test = self.value(part.this, compared.kind)
            else:
                test = self.conditions.write(part.this, positive=False)
            ifs.append(exp.If(this=test, true=self.value(part.args["true"], wanted)))
        result.set("ifs", ifs)
        if node.args.get("default") is not None:
            result.set("default", self.value(node.args["default"], wanted))
        return exp.Paren(this=result)
