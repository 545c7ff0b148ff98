"""Conditions in the words of a database."""

from typing import TYPE_CHECKING

from sqlglot import exp

from residua.access.adql.errors import AdqlError
from residua.access.adql.functions.strings import lower
from residua.access.adql.meaning.constants import Number, number_of
from residua.access.adql.meaning.kinds import ExpressionKind, Meaning
from residua.access.adql.meaning.trees import inner_query, name_of
from residua.access.adql.write.spatial.expressions import (
    CircleExpression,
    Constant,
    PointExpression,
)
from residua.access.adql.write.spatial.spatial_values import distance_points, predicate
from residua.access.adql.write.words import both, fixed, is_postgres, number, truth
from residua.sphere.regions import Circle, Point, Region

if TYPE_CHECKING:
    from residua.access.adql.write.sql_writer import Writer

__all__ = ["ConditionWriter"]

_PREDICATES = frozenset({"CONTAINS", "INTERSECTS"})
_ORDERED = (exp.GT, exp.GTE, exp.LT, exp.LTE)


class ConditionWriter:
    """Writes what is true or false.

    Parameters
    ----------
    writer
        Writes the values within.
    """

    def __init__(self, writer: "Writer") -> None:
        self._writer = writer

    def write(self, node: exp.Expr, *, positive: bool) -> exp.Expr:  # noqa: PLR0911 one each
        """Write a condition.

        Parameters
        ----------
        positive
            Whether only being true matters here, so that an index may take NULL for false.
        """
        match node:
            case exp.Paren():
                return exp.Paren(this=self.write(node.this, positive=positive))
            case exp.And() | exp.Or():
                sides = [
                    self.write(side, positive=positive) for side in (node.this, node.expression)
                ]
                return type(node)(this=_grouped(sides[0]), expression=_grouped(sides[1]))
            case exp.Not():
                return exp.Not(this=exp.Paren(this=self.write(node.this, positive=False)))
            case exp.EQ() | exp.NEQ() | exp.GT() | exp.GTE() | exp.LT() | exp.LTE():
                return self._comparison(node, positive=positive)
            case exp.Is():
                return exp.Is(this=self._writer.value(node.this), expression=exp.Null())
            case exp.Between():
                return self._between(node)
            case exp.Like() | exp.ILike():
                return self._like(node)
            case exp.In():
                return self._in(node)
            case exp.Exists():
                return exp.Exists(this=self._writer.query(inner_query(node.this)))
            case _:
                raise AdqlError(f"{type(node).__name__.upper()} cannot stand here")

    def _comparison(self, node: exp.Expr, *, positive: bool) -> exp.Expr:
        if isinstance(node, exp.EQ):
            test = self._predicate(node, positive=positive)
            if test is not None:
                return test
        if isinstance(node, exp.LT | exp.LTE) and positive:
            near = self._nearer(node)
            if near is not None:
                return near
        right = node.args["expression"]
        if isinstance(right, exp.Any | exp.All):
            return self._quantified(node, right)
        kind = _compared(node)
        sides = [self._writer.operand(side, kind) for side in (node.this, right)]
        if isinstance(node, _ORDERED):
            sides[0] = self._sorted(sides[0], kind)
        return type(node)(this=sides[0], expression=sides[1])

    def _sorted(self, side: exp.Expr, kind: ExpressionKind) -> exp.Expr:
        if kind == "text" and is_postgres(self._writer.dialect):
            return exp.Paren(
                this=exp.Collate(this=side, expression=exp.to_identifier("C", quoted=True))
            )
        return side

    def _between(self, node: exp.Between) -> exp.Expr:
        kind = _compared(node)
        value, low, high = (
            self._writer.operand(side, kind)
            for side in (node.this, node.args["low"], node.args["high"])
        )
        return exp.Between(this=self._sorted(value, kind), low=low, high=high)

    def _like(self, node: exp.Expr) -> exp.Expr:
        dialect = self._writer.dialect
        value = self._writer.operand(node.this, "text")
        pattern = self._writer.operand(node.args["expression"], "text")
        if isinstance(node, exp.ILike):
            value, pattern = lower(value, dialect), lower(pattern, dialect)
        test: exp.Expr = exp.Like(this=value, expression=pattern)
        if is_postgres(dialect):
            # ADQL has no character that takes another's meaning away.
            test = exp.Escape(this=test, expression=exp.Literal.string(""))
        return exp.Not(this=exp.Paren(this=test)) if node.args.get("negate") else test

    def _in(self, node: exp.In) -> exp.Expr:
        kind = _compared(node)
        value = self._writer.operand(node.this, kind)
        query = node.args.get("query")
        if query is not None:
            inner = self._writer.query(inner_query(query), [kind])
            return exp.In(this=value, query=exp.Subquery(this=inner))
        others = [self._writer.operand(other, kind) for other in node.expressions]
        return exp.In(this=value, expressions=others)

    def _quantified(self, node: exp.Expr, right: exp.Expr) -> exp.Expr:
        """ALL and ANY, which SQLite lacks: 2 for true, 1 for unknown, 0 for false of each row."""
        kind = _compared(node)
        query = inner_query(right.this)
        name = query.meta["outputs"][0][0]
        left = self._writer.operand(node.this, kind)
        inner = self._writer.query(query, [kind])
        alias = exp.TableAlias(this=exp.to_identifier("residua_each", quoted=True))
        each = exp.column(name, table="residua_each", quoted=True)
        if isinstance(node, _ORDERED):
            left = self._sorted(left, kind)
        test = truth(type(node)(this=left, expression=each), self._writer.dialect)
        doubled = exp.Mul(this=exp.Literal.number(2), expression=test)
        code = exp.Anonymous(this="COALESCE", expressions=[doubled, exp.Literal.number(1)])
        is_any = isinstance(right, exp.Any)
        extreme = exp.Anonymous(this="MAX" if is_any else "MIN", expressions=[code])
        empty = exp.Literal.number(0 if is_any else 2)
        known = exp.Nullif(
            this=exp.Anonymous(this="COALESCE", expressions=[extreme, empty]),
            expression=exp.Literal.number(1),
        )
        select = exp.Select(
            expressions=[known], from_=exp.From(this=exp.Subquery(this=inner, alias=alias))
        )
        return exp.EQ(this=exp.Subquery(this=select), expression=exp.Literal.number(2))

    def _predicate(self, node: exp.EQ, *, positive: bool) -> exp.Expr | None:
        for spatial, other in ((node.this, node.expression), (node.expression, node.this)):
            name = name_of(spatial)
            if name not in _PREDICATES:
                continue
            constant = number_of(other)
            for literal in other.find_all(exp.Literal):
                literal.meta["pinned"] = True
            if constant is not None and constant.value in {0.0, 1.0}:
                wanted = constant.value == 1.0
                test = predicate(
                    name, spatial.expressions, self._writer, indexed=positive and wanted
                )
                return exp.Paren(this=test) if wanted else exp.Not(this=exp.Paren(this=test))
        return None

    def _nearer(self, node: exp.LT | exp.LTE) -> exp.Expr | None:
        limit = self._writer.number(node.expression)
        if name_of(node.this) != "DISTANCE" or limit is None:
            return None
        backend = self._writer.backend

        def is_radius(value: float) -> bool:
            return 0.0 <= value <= 180.0

        possible = is_radius(limit.value)
        again = limit.again
        backend.guards.append(lambda v: is_radius(again(v)) == possible)
        if not possible:
            return None
        a, b = distance_points(node.this.expressions, self._writer)
        kind: ExpressionKind = "double"
        other = self._writer.operand(node.expression, kind)
        if not isinstance(node.expression, exp.Literal | exp.Neg | exp.Paren):
            other = fixed(limit.value, backend.dialect)
            value = limit.value
            backend.guards.append(lambda v: again(v) == value)
        test = type(node)(this=backend.distance(a, b), expression=other)
        for center, moving in ((a, b), (b, a)):
            if (
                isinstance(center, Constant)
                and isinstance(center.region, Point)
                and isinstance(moving, PointExpression)
            ):
                near = backend.near(moving, _circle(center, limit))
                if near is not None:
                    return both([near, test])
            if isinstance(center, PointExpression) and isinstance(moving, PointExpression):
                if limit.value > 89.0:
                    continue
                # A little wider, so that rounding cannot take a row away that the distance keeps.
                wider = Number(limit.value + 1e-7, lambda v: again(v) + 1e-7, limit.slots)
                around = CircleExpression(center, number(wider, backend.dialect))
                near = backend.near(moving, around)
                if near is not None:
                    backend.guards.append(lambda v: again(v) <= 89.0)
                    return both([near, test])
        return exp.Paren(this=test)


def _circle(center: Constant, radius: Number) -> Constant:
    def circle(point: Region, degrees: float) -> Region:
        assert isinstance(point, Point)
        return Circle(point.ra, point.dec, degrees)

    return Constant(
        circle(center.region, radius.value),
        lambda v: circle(center.again(v), radius.again(v)),
        center.slots | radius.slots,
    )


def _compared(node: exp.Expr) -> ExpressionKind:
    meaning: Meaning = node.meta["compared"]
    return "text" if meaning.kind == "null" else meaning.kind


def _grouped(node: exp.Expr) -> exp.Expr:
    return node if isinstance(node, exp.Paren) else exp.Paren(this=node)
