"""From a checked query to the words of one database."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlglot import exp

from residua.access.adql.errors import AdqlError
from residua.access.adql.functions import FUNCTIONS
from residua.access.adql.meaning.constants import Number, number_of
from residua.access.adql.meaning.describe import meaning_of
from residua.access.adql.meaning.geometry_types import CONSTRUCTORS
from residua.access.adql.meaning.kinds import ExpressionKind, Meaning, common
from residua.access.adql.meaning.trees import inner_query, name_of
from residua.access.adql.write.arithmetic import Operator, arithmetic, negated
from residua.access.adql.write.casts import cast_as
from residua.access.adql.write.conditions import ConditionWriter
from residua.access.adql.write.expressions import (
    Backend,
    CircleExpression,
    Constant,
    PointExpression,
    PolygonExpression,
)  # fmt: skip
from residua.access.adql.write.geometry import geometry, scalar
from residua.access.adql.write.words import (
    Argument,
    as_double,
    as_long,
    as_text,
    call,
    cast_to,
    fixed,
    from_slots,
    is_postgres,
)  # fmt: skip

__all__ = ["Writer"]

_OPERATORS: dict[type[exp.Expr], Operator] = {
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/",
}  # fmt: skip


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
        with self._state(grouped=False, open_=False):
            if isinstance(query, exp.SetOperation):
                self._set_operation(query, wanted, outermost=outermost)
            elif isinstance(query, exp.Select):
                self._select(query, wanted, outermost=outermost)
        return node

    def value(self, node: exp.Expr, kind: ExpressionKind | None = None) -> exp.Expr:
        """Write a value, as one of a type."""
        meaning = meaning_of(node)
        if kind is None or kind == meaning.kind:
            return self._value(node)
        if kind == "double" and (constant := self._own_number(node)) is not None:
            return fixed(float(constant), self.dialect)
        if isinstance(node, exp.Null):
            return cast_to(exp.Null(), "text" if kind == "null" else kind)
        return self._as(Argument(self._value(node), meaning), kind)

    def operand(self, node: exp.Expr, kind: ExpressionKind) -> exp.Expr:
        """Write a side of a comparison; in WHERE its literal may be another query's."""
        if self.open and not node.meta.get("pinned"):
            parameter = self._from_slot(node, kind)
            if parameter is not None:
                return parameter
        if kind in {"int", "long"} and meaning_of(node).is_whole:
            return self._value(node)
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
        return as_long(Argument(self._value(node), meaning_of(node)), self.dialect)

    def text(self, node: exp.Expr) -> exp.Expr:
        """See `Reader.text`."""
        return self.value(node, "text")

    @contextmanager
    def _state(self, *, grouped: bool, open_: bool) -> Iterator[None]:
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
        positions = self._positions(order, query) if order else {}
        for key in ("this", "expression"):
            side = query.args[key]
            self.query(side, wanted, outermost=outermost)
            inner = inner_query(side)
            if isinstance(inner, exp.Select):
                self._collate(inner, wanted, positions)
            if not isinstance(side, exp.Select) or side.args.get("limit") or side.args.get("order"):
                # SQLite knows no parentheses here, and both read mixed operations differently.
                query.set(key, _select_all(inner))
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
        positions = self._positions(order, select) if order else {}
        where = select.args.get("where")
        with self._state(grouped=False, open_=True):
            if where is not None:
                where.set("this", self.conditions.write(where.this, positive=True))
            for join in joins:
                if join.args.get("on") is not None:
                    join.set("on", self.conditions.write(join.args["on"], positive=True))
        with self._state(grouped=grouped, open_=False):
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
        self._collate(select, wanted, positions)

    def _projection(
        self, projection: exp.Expr, kind: ExpressionKind, *, outermost: bool
    ) -> exp.Expr:
        inner = projection.unalias()
        if name_of(inner) in CONSTRUCTORS and outermost:
            value = self._numbers(inner)
        else:
            value = self.value(inner, "text" if kind == "null" else kind)
        return exp.alias_(value, projection.alias_or_name, quoted=True, copy=False)

    def _positions(self, order: exp.Order, query: exp.Query) -> dict[int, int]:
        """Which items of ORDER BY are columns of the result: item to column."""
        found = {}
        shown = [p.unalias() for p in query.selects]
        names = [p.alias_or_name for p in query.selects]
        for i, item in enumerate(order.expressions):
            key = item.this
            if isinstance(key, exp.Literal) and not key.is_string:
                found[i] = int(key.this) - 1
            elif isinstance(key, exp.Column) and not key.table and key.name in names:
                found[i] = names.index(key.name)
            elif isinstance(query, exp.Select) and key in shown:
                found[i] = shown.index(key)
        return found

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
                value = _c_collated(value)
            item.set("this", value)

    def _collate(
        self, select: exp.Select, wanted: Sequence[ExpressionKind], positions: dict[int, int]
    ) -> None:
        """Let texts be sorted by their characters' numbers, whatever the database's language."""
        if not is_postgres(self.dialect):
            return
        for i in set(positions.values()):
            if wanted[i] in {"text", "null"}:
                projection = select.expressions[i]
                projection.set("this", _c_collated(projection.this))

    def _value(self, node: exp.Expr) -> exp.Expr:  # noqa: PLR0911 one for each kind
        match node:
            case exp.Literal():
                return self._literal(node)
            case exp.Null() | exp.Column():
                return node.copy()
            case exp.Paren():
                return exp.Paren(this=self._value(node.this))
            case exp.Neg():
                constant = self._own_number(node)
                if constant is not None:
                    return fixed(constant, self.dialect)
                return negated(self._argument(node.this), self.dialect)
            case exp.Add() | exp.Sub() | exp.Mul() | exp.Div():
                sides = self._argument(node.this), self._argument(node.expression)
                return arithmetic(_OPERATORS[type(node)], *sides, self.dialect)
            case exp.DPipe():
                left, right = self.text(node.this), self.text(node.expression)
                return exp.Paren(this=exp.DPipe(this=left, expression=right, safe=True))
            case exp.Cast():
                return cast_as(self._argument(node.this), node.to, self.dialect)
            case exp.Case():
                return self._case(node)
            case exp.Subquery() | exp.Select() | exp.SetOperation():
                query = inner_query(node)
                return exp.Subquery(this=self.query(query))
            case exp.Anonymous():
                return self._call(node)
            case _:
                raise AdqlError(f"{type(node).__name__.upper()} cannot stand here")

    def _literal(self, node: exp.Literal) -> exp.Expr:
        if node.is_string:
            return fixed(str(node.this), self.dialect)
        text = str(node.this)
        return fixed(int(text) if text.isdigit() else float(text), self.dialect)

    def _own_number(self, node: exp.Expr) -> float | None:
        """Value of a number of the query with its sign, a whole one as `int`."""
        sign = 1
        while isinstance(node, exp.Neg | exp.Paren):
            sign = -sign if isinstance(node, exp.Neg) else sign
            node = node.this
        if not isinstance(node, exp.Literal) or node.is_string:
            return None
        text = str(node.this)
        return sign * (int(text) if text.isdigit() else float(text))

    def _from_slot(self, node: exp.Expr, kind: ExpressionKind) -> exp.Expr | None:
        sign = 1
        while isinstance(node, exp.Neg | exp.Paren):
            sign = -sign if isinstance(node, exp.Neg) else sign
            node = node.this
        slot = node.meta.get("slot")
        if not isinstance(node, exp.Literal) or slot is None:
            return None
        i: int = slot
        slots = frozenset({i})
        if node.is_string:
            return from_slots(str(node.this), lambda v: v[i].value, slots, self.dialect)
        if kind == "double":
            return from_slots(
                sign * float(node.this), lambda v: sign * float(v[i].value), slots, self.dialect
            )
        if not str(node.this).isdigit() or int(node.this) >= 2**63:
            return None
        return from_slots(
            sign * int(node.this), lambda v: sign * int(v[i].value), slots, self.dialect
        )

    def _argument(self, node: exp.Expr) -> Argument:
        return Argument(self._value(node), meaning_of(node))

    def _as(self, argument: Argument, kind: ExpressionKind) -> exp.Expr:
        match kind:
            case "double":
                return as_double(argument)
            case "int" | "long":
                return as_long(argument, self.dialect)
            case "text" | "null":
                return as_text(argument)
            case _:
                return argument.sql

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

    def _call(self, node: exp.Anonymous) -> exp.Expr:
        name = node.name.upper()
        if name in CONSTRUCTORS or name in {"REGION", "RESIDUA_RANGE"}:
            geometry(node, self)
            raise AdqlError(f"{name} can stand in a geometry function or alone in the SELECT list")
        value = scalar(name, node.expressions, self)
        if value is not None:
            return exp.Paren(this=value)
        if name == "IN_UNIT":
            factor = node.meta["factor"]
            scale = Argument(
                fixed(factor, self.dialect), Meaning("double", least=abs(factor), most=abs(factor))
            )
            return arithmetic("*", self._argument(node.expressions[0]), scale, self.dialect)
        function = FUNCTIONS[name]
        with self._state(grouped=self.grouped and not function.aggregate, open_=False):
            arguments = [
                self._call_argument(function.parameter(i), argument, node)
                for i, argument in enumerate(node.expressions)
            ]
        return function.build(self.dialect, arguments)

    def _call_argument(  # noqa: PLR0911 one for each kind
        self, parameter: str, node: exp.Expr, call_node: exp.Anonymous
    ) -> Argument:
        if isinstance(node, exp.Star):
            return Argument(exp.Star(), Meaning("long"))
        if isinstance(node, exp.Distinct):
            inner = self._call_argument(parameter, node.expressions[0], call_node)
            return Argument(exp.Distinct(expressions=[inner.sql]), inner.meaning)
        meaning = meaning_of(node)
        match parameter:
            case "double":
                return Argument(self.double(node), meaning)
            case "integer":
                return Argument(self.whole(node), meaning)
            case "text":
                return Argument(self.text(node), meaning)
            case "same":
                kind = common([meaning_of(a) for a in call_node.expressions], "arguments").kind
                return Argument(self.value(node, kind), meaning)
            case _:
                if isinstance(node, exp.Null):
                    kind = "double" if parameter == "number" else "text"
                    return Argument(cast_to(exp.Null(), kind), meaning)
                return Argument(self._value(node), meaning)

    def _numbers(self, node: exp.Expr) -> exp.Expr:
        """Text of a geometry's numbers, separated by blanks."""
        region = geometry(node, self)
        match region:
            case Constant():
                return fixed(" ".join(str(region.region).split()[2:]), self.dialect)
            case PointExpression():
                parts = [region.ra, region.dec]
            case CircleExpression():
                parts = [region.center.ra, region.center.dec, region.radius]
            case PolygonExpression():
                parts = [x for corner in region.corners for x in (corner.ra, corner.dec)]
            case _:
                raise AdqlError("a region column stands without a function")
        text: exp.Expr | None = None
        for part in parts:
            word = (
                cast_to(part.copy(), "text")
                if is_postgres(self.dialect)
                else call("adql_text", part)
            )
            if text is None:
                text = word
            else:
                blank = exp.DPipe(this=text, expression=exp.Literal.string(" "), safe=True)
                text = exp.DPipe(this=blank, expression=word, safe=True)
        assert text is not None
        return exp.Paren(this=text)


def _select_all(query: exp.Expr) -> exp.Expr:
    alias = exp.TableAlias(this=exp.to_identifier("residua_part", quoted=True))
    return exp.Select(
        expressions=[exp.Star()], from_=exp.From(this=exp.Subquery(this=query.copy(), alias=alias))
    )


def _c_collated(value: exp.Expr) -> exp.Expr:
    return exp.Collate(this=value, expression=exp.to_identifier("C", quoted=True))
