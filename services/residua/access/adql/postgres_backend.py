"""Spatial SQL of PostgreSQL: pgsphere's types and operators."""

import math

import sqlglot
from sqlglot import exp

from residua.access.adql.errors import AdqlError
from residua.access.adql.expressions import (
    CircleExpression,
    Geometry,
    PointExpression,
    RegionColumn,
    as_point,
    call,
    circle_area,
    number,
    own_column,
)
from residua.obscore.spatial import SPOLY_COLUMN, SPOLY_FUNCTION, bounds_sql
from residua.sphere.regions import (
    Circle,
    Point,
    Polygon,
    Range,
)
from residua.sphere.relations import area, bounding_cap
from residua.sphere.vectors import sky_position

__all__ = ["PostgresBackend"]


class PostgresBackend:
    """PostgreSQL: pgsphere's types and operators."""

    dialect = "postgres"

    def contains(self, inner: Geometry, outer: Geometry) -> exp.Expr:
        """See `Backend.contains`."""
        if isinstance(outer, Circle) and outer.radius > 90.0:
            return exp.Not(this=exp.Paren(this=self.intersects(inner, _complement(outer))))
        if isinstance(outer, Range):
            raise AdqlError("a range cannot hold a region")
        test = _operator(self._value(inner), "<@", self._value(outer))
        return self._with_index(test, inner, outer)

    def intersects(self, a: Geometry, b: Geometry) -> exp.Expr:
        """See `Backend.intersects`."""
        for point, other in ((a, b), (b, a)):
            if isinstance(point, Point | PointExpression):
                if isinstance(other, Point | PointExpression):
                    return _operator(self._value(point), "=", self._value(other))
                return self.contains(point, other)
        for circle, other in ((a, b), (b, a)):
            if isinstance(circle, Circle) and circle.radius > 90.0:
                return exp.Not(this=exp.Paren(this=self.contains(other, _complement(circle))))
        for box, other in ((a, b), (b, a)):
            if isinstance(box, Range):
                return self._meets_range(other, box)
        test = _operator(self._value(a), "&&", self._value(b))
        return self._with_index(test, a, b)

    def distance(self, a: Geometry, b: Geometry) -> exp.Expr:
        """See `Backend.distance`."""
        points = [self._value(g) for g in (as_point(a), as_point(b))]
        return call("DEGREES", _operator(points[0], "<->", points[1]))

    def area(self, geometry: Geometry) -> exp.Expr:
        """See `Backend.area`."""
        match geometry:
            case Point() | Circle() | Polygon() | Range():
                return number(area(geometry))
            case CircleExpression(radius=radius):
                return circle_area(radius)
            case PointExpression():
                return number(0.0)
            case RegionColumn():
                scale = number(math.degrees(1.0) ** 2)
                return exp.Mul(this=call("AREA", self._value(geometry)), expression=scale)

    def near(self, point: PointExpression, circle: Circle) -> exp.Expr | None:
        """See `Backend.near`."""
        if point.indexed_table is None or circle.radius > 89.0:
            return None
        # A little wider, so that rounding cannot take a row away that the distance keeps.
        wider = Circle(circle.ra, circle.dec, circle.radius + 1e-7)
        return _operator(self._value(point), "<@", self._value(wider))

    def _meets_range(self, geometry: Geometry, box: Range) -> exp.Expr:
        # pgsphere's boxes are narrower than 180 degrees.
        pieces = max(1, math.ceil(box.width / 90.0))
        step = box.width / pieces
        tests: list[exp.Expr] = []
        for i in range(pieces):
            west = (box.ra_min + i * step) % 360.0
            part = Range(west, west + step, box.dec_min, box.dec_max)
            corners = (_spoint(west, box.dec_min), _spoint(west + step, box.dec_max))
            test = _operator(self._value(geometry), "&&", call("sbox", *corners))
            direction, radius = bounding_cap(part)
            # Its circle meets boxes across RA 0 only sometimes: ask for the circle around it.
            around = Circle(*sky_position(direction), radius + 1e-6)
            tests.append(test if radius > 89.0 else self._with_index(test, geometry, around))
        return exp.Paren(this=exp.or_(*tests))

    def _with_index(self, test: exp.Expr, a: Geometry, b: Geometry) -> exp.Expr:
        """Ask the index for the circles around footprints first: that alters no answer."""
        for fixed, indexed in ((a, b), (b, a)):
            if (
                isinstance(indexed, RegionColumn)
                and indexed.indexed_table is not None
                and isinstance(fixed, Point | Circle | Polygon)
            ):
                operator = "@>" if isinstance(fixed, Point) else "&&"
                near = _operator(_bounds(indexed.indexed_table), operator, self._value(fixed))
                return exp.Paren(this=exp.And(this=near, expression=test))
        return test

    def _value(self, geometry: Geometry) -> exp.Expr:  # noqa: PLR0911 one for each kind
        match geometry:
            case Point(ra=ra, dec=dec):
                return _spoint(ra, dec)
            case Circle():
                radius = number(math.radians(geometry.radius))
                return call("scircle", _spoint(geometry.ra, geometry.dec), radius)
            case Polygon():
                corners = ",".join(f"({ra % 360.0!r}d,{dec!r}d)" for ra, dec in geometry.corners)
                return call("spoly", exp.Literal.string(f"{{{corners}}}"))
            case Range():
                raise AdqlError("a range can only be asked what it intersects")
            case PointExpression(ra=ra, dec=dec):
                return call("spoint", call("RADIANS", ra), call("RADIANS", dec))
            case CircleExpression(center=center, radius=radius):
                return call("scircle", self._value(center), call("RADIANS", radius))
            case RegionColumn(column=column, indexed_table=table):
                if table is not None:
                    return own_column(table, SPOLY_COLUMN)
                return call(SPOLY_FUNCTION, column)


def _operator(left: exp.Expr, operator: str, right: exp.Expr) -> exp.Expr:
    return exp.Paren(
        this=exp.Operator(this=left.copy(), operator=operator, expression=right.copy())
    )


def _spoint(ra: float, dec: float) -> exp.Expr:
    return call("spoint", number(math.radians(ra % 360.0)), number(math.radians(dec)))


def _complement(circle: Circle) -> Circle:
    return Circle((circle.ra + 180.0) % 360.0, -circle.dec, 180.0 - circle.radius)


def _bounds(table: str) -> exp.Expr:
    """Circle around a row's footprint, word for word as the index has it."""
    tree = sqlglot.parse_one(bounds_sql(), dialect="postgres")
    for column in tree.find_all(exp.Column):
        column.set("table", exp.to_identifier(table, quoted=True))
    return tree
