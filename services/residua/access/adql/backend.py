"""Spatial SQL of the two databases: SQLite with functions of ours, PostgreSQL with pgsphere."""

import math
from dataclasses import dataclass
from typing import Literal, Protocol

from sqlglot import exp

from residua.access.adql.errors import AdqlError
from residua.access.region_relations import area, bounding_cap
from residua.access.regions import Circle, Point, Polygon, Range, Region
from residua.obscore.spatial import RTREE_TABLE, SPOLY_COLUMN, SPOLY_FUNCTION

__all__ = [
    "BACKENDS",
    "Backend",
    "CircleExpression",
    "Geometry",
    "PointExpression",
    "RegionColumn",
]


@dataclass(frozen=True)
class PointExpression:
    """POINT of two expressions, degrees; ``indexed_table`` when they are an indexed position."""

    ra: exp.Expr
    dec: exp.Expr
    indexed_table: str | None = None


@dataclass(frozen=True)
class CircleExpression:
    """CIRCLE of expressions, degrees."""

    center: PointExpression
    radius: exp.Expr


@dataclass(frozen=True)
class RegionColumn:
    """A column with footprints; ``indexed_table`` when it is the table's own."""

    column: exp.Expr
    indexed_table: str | None = None


type Geometry = Region | PointExpression | CircleExpression | RegionColumn


class Backend(Protocol):
    """How one database writes the spatial predicates."""

    dialect: str

    def contains(self, inner: Geometry, outer: Geometry) -> exp.Expr:
        """Predicate: inner lies in outer."""
        ...

    def intersects(self, a: Geometry, b: Geometry) -> exp.Expr:
        """Predicate: both share a point."""
        ...

    def distance(self, a: Geometry, b: Geometry) -> exp.Expr:
        """Distance of two points, degrees."""
        ...

    def area(self, geometry: Geometry) -> exp.Expr:
        """Area, square degrees."""
        ...

    def near(self, point: PointExpression, circle: Circle) -> exp.Expr | None:
        """Condition, answered by an index, that holds wherever the point lies in the circle."""
        ...


def _call(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=[a.copy() for a in arguments])


def _number(value: float) -> exp.Expr:
    # In parentheses: a minus sign must never meet another one and become a comment.
    return exp.Paren(this=exp.Literal.number(repr(float(value))))


def _column(table: str, name: str) -> exp.Expr:
    return exp.column(name, table=table, quoted=True)


def _circle_area(radius: exp.Expr) -> exp.Expr:
    # 4 pi sin^2(r / 2) steradians.
    half = exp.Div(this=_call("RADIANS", radius), expression=_number(2.0), typed=True)
    scale = _number(4.0 * math.pi * math.degrees(1.0) ** 2)
    return exp.Mul(this=scale, expression=_call("POWER", _call("SIN", half), _number(2.0)))


class SqliteBackend:
    """SQLite: predicates of `residua.access.sqlite_functions` behind the R*Tree."""

    dialect = "sqlite"

    def contains(self, inner: Geometry, outer: Geometry) -> exp.Expr:
        """See `Backend.contains`."""
        test = _call("adql_contains", self._text(inner), self._text(outer))
        return self._with_index(test, inner, outer)

    def intersects(self, a: Geometry, b: Geometry) -> exp.Expr:
        """See `Backend.intersects`."""
        test = _call("adql_intersects", self._text(a), self._text(b))
        return self._with_index(test, a, b)

    def distance(self, a: Geometry, b: Geometry) -> exp.Expr:
        """See `Backend.distance`."""
        p, q = _as_point(a), _as_point(b)
        return _call("adql_distance", p.ra, p.dec, q.ra, q.dec)

    def area(self, geometry: Geometry) -> exp.Expr:
        """See `Backend.area`."""
        if isinstance(geometry, CircleExpression):
            return _circle_area(geometry.radius)
        return _call("adql_area", self._text(geometry))

    def near(self, point: PointExpression, circle: Circle) -> exp.Expr | None:
        """See `Backend.near`."""
        return None if point.indexed_table is None else _rtree(point.indexed_table, circle)

    def _with_index(self, test: exp.Expr, a: Geometry, b: Geometry) -> exp.Expr:
        for fixed, indexed in ((a, b), (b, a)):
            table = getattr(indexed, "indexed_table", None)
            if table is not None and isinstance(fixed, Point | Circle | Polygon | Range):
                return exp.Paren(this=exp.And(this=_rtree(table, fixed), expression=test))
        return test

    def _text(self, geometry: Geometry) -> exp.Expr:
        match geometry:
            case Point() | Circle() | Polygon() | Range():
                return exp.Literal.string(str(geometry))
            case PointExpression(ra=ra, dec=dec):
                return _call("adql_point", ra, dec)
            case CircleExpression(center=center, radius=radius):
                return _call("adql_circle", center.ra, center.dec, radius)
            case RegionColumn(column=column):
                return column


def _rtree(table: str, region: Region) -> exp.Expr:
    """Rows whose bounding box meets that of the region, in Cartesian coordinates."""
    direction, radius = bounding_cap(region)
    chord = 2.0 * math.sin(math.radians(min(radius, 180.0)) / 2.0) + 1e-6
    conditions: list[exp.Expr] = []
    for axis, value in zip("xyz", direction, strict=True):
        low, high = (exp.column(f"{axis}{i}") for i in (1, 0))
        conditions += [
            exp.GTE(this=low, expression=_number(value - chord)),
            exp.LTE(this=high, expression=_number(value + chord)),
        ]
    inside = exp.select("row_id").from_(RTREE_TABLE).where(*conditions)
    return exp.In(this=_column(table, "row_id"), query=exp.Subquery(this=inside))


class PostgresBackend:
    """PostgreSQL: pgsphere's types and operators."""

    dialect = "postgres"

    def contains(self, inner: Geometry, outer: Geometry) -> exp.Expr:
        """See `Backend.contains`."""
        if isinstance(outer, Circle) and outer.radius > 90.0:
            return exp.Not(this=exp.Paren(this=self.intersects(inner, _complement(outer))))
        if isinstance(outer, Range):
            raise AdqlError("a range cannot hold a region")
        return _operator(self._value(inner), "<@", self._value(outer))

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
        return _operator(self._value(a), "&&", self._value(b))

    def distance(self, a: Geometry, b: Geometry) -> exp.Expr:
        """See `Backend.distance`."""
        points = [self._value(g) for g in (_as_point(a), _as_point(b))]
        return _call("DEGREES", _operator(points[0], "<->", points[1]))

    def area(self, geometry: Geometry) -> exp.Expr:
        """See `Backend.area`."""
        match geometry:
            case Point() | Circle() | Polygon() | Range():
                return _number(area(geometry))
            case CircleExpression(radius=radius):
                return _circle_area(radius)
            case PointExpression():
                return _number(0.0)
            case RegionColumn():
                scale = _number(math.degrees(1.0) ** 2)
                return exp.Mul(this=_call("AREA", self._value(geometry)), expression=scale)

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
        value = self._value(geometry)
        tests: list[exp.Expr] = []
        for i in range(pieces):
            west, east = box.ra_min + i * step, box.ra_min + (i + 1) * step
            corners = (_spoint(west, box.dec_min), _spoint(east, box.dec_max))
            tests.append(_operator(value, "&&", _call("sbox", *corners)))
        return exp.Paren(this=exp.or_(*tests))

    def _value(self, geometry: Geometry) -> exp.Expr:  # noqa: PLR0911 one for each kind
        match geometry:
            case Point(ra=ra, dec=dec):
                return _spoint(ra, dec)
            case Circle():
                radius = _number(math.radians(geometry.radius))
                return _call("scircle", _spoint(geometry.ra, geometry.dec), radius)
            case Polygon():
                corners = ",".join(f"({ra % 360.0!r}d,{dec!r}d)" for ra, dec in geometry.corners)
                return _call("spoly", exp.Literal.string(f"{{{corners}}}"))
            case Range():
                raise AdqlError("a range can only be asked what it intersects")
            case PointExpression(ra=ra, dec=dec):
                return _call("spoint", _call("RADIANS", ra), _call("RADIANS", dec))
            case CircleExpression(center=center, radius=radius):
                return _call("scircle", self._value(center), _call("RADIANS", radius))
            case RegionColumn(column=column, indexed_table=table):
                if table is not None:
                    return _column(table, SPOLY_COLUMN)
                return _call(SPOLY_FUNCTION, column)


def _operator(left: exp.Expr, operator: str, right: exp.Expr) -> exp.Expr:
    return exp.Paren(
        this=exp.Operator(this=left.copy(), operator=operator, expression=right.copy())
    )


def _spoint(ra: float, dec: float) -> exp.Expr:
    return _call("spoint", _number(math.radians(ra % 360.0)), _number(math.radians(dec)))


def _complement(circle: Circle) -> Circle:
    return Circle((circle.ra + 180.0) % 360.0, -circle.dec, 180.0 - circle.radius)


def _as_point(geometry: Geometry) -> PointExpression:
    match geometry:
        case Point(ra=ra, dec=dec):
            return PointExpression(_number(ra), _number(dec))
        case PointExpression():
            return geometry
        case _:
            raise AdqlError("DISTANCE takes two points")


BACKENDS: dict[Literal["sqlite", "postgresql"], Backend] = {
    "sqlite": SqliteBackend(),
    "postgresql": PostgresBackend(),
}
"""By name of the SQLAlchemy dialect."""
