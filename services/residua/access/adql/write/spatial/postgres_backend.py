"""Spatial SQL of PostgreSQL: pgsphere's types and operators."""

import math
from collections.abc import Callable

import sqlglot
from sqlglot import exp

from residua.access.adql.errors import AdqlError
from residua.access.adql.write.spatial.areas import area_of
from residua.access.adql.write.spatial.expressions import (
    CircleExpression,
    Constant,
    Geometry,
    Guard,
    PointExpression,
    PolygonExpression,
    RegionColumn,
    as_point,
    is_elsewhere,
    own_column,
)
from residua.access.adql.write.words import both, call, fixed, from_slots
from residua.obscore.spatial import SPOLY_COLUMN, SPOLY_FUNCTION, bounds_sql
from residua.sphere.regions import (
    Circle,
    Point,
    Polygon,
    Range,
    Region,
)
from residua.sphere.relations import bounding_cap
from residua.sphere.vectors import sky_position

__all__ = ["PostgresBackend"]


class PostgresBackend:
    """PostgreSQL: pgsphere's types and operators."""

    dialect = "postgres"

    def __init__(self) -> None:
        self.guards: list[Guard] = []

    def contains(self, inner: Geometry, outer: Geometry, *, indexed: bool) -> exp.Expr:
        """See `Backend.contains`."""
        if isinstance(outer, Constant) and isinstance(outer.region, Circle):
            if self._decide(outer, lambda r: _radius(r) > 90.0):
                return _not(self.intersects(inner, _complement(outer), indexed=False))
        elif isinstance(outer, Constant) and isinstance(outer.region, Range):
            raise AdqlError("a range cannot hold a region")
        test = _operator(self._value(inner), "<@", self._value(outer))
        return self._with_index(test, inner, outer) if indexed else test

    def intersects(self, a: Geometry, b: Geometry, *, indexed: bool) -> exp.Expr:
        """See `Backend.intersects`."""
        for point, other in ((a, b), (b, a)):
            if _is_point(point):
                if _is_point(other):
                    return _operator(self._value(point), "=", self._value(other))
                return self.contains(point, other, indexed=indexed)
        for circle, other in ((a, b), (b, a)):
            if (
                isinstance(circle, Constant)
                and isinstance(circle.region, Circle)
                and self._decide(circle, lambda r: _radius(r) > 90.0)
            ):
                return _not(self.contains(other, _complement(circle), indexed=False))
        for box, other in ((a, b), (b, a)):
            if isinstance(box, Constant) and isinstance(box.region, Range):
                return self._meets_range(other, box, indexed=indexed)
        test = _operator(self._value(a), "&&", self._value(b))
        return self._with_index(test, a, b) if indexed else test

    def distance(self, a: Geometry, b: Geometry) -> exp.Expr:
        """See `Backend.distance`."""
        points = [g if _is_point(g) else as_point(g, self.dialect) for g in (a, b)]
        return call("DEGREES", _operator(self._value(points[0]), "<->", self._value(points[1])))

    def area(self, geometry: Geometry) -> exp.Expr:
        """See `Backend.area`."""
        match geometry:
            case Constant() | CircleExpression():
                return area_of(geometry, self.dialect)
            case PointExpression():
                return fixed(0.0, self.dialect)
            case RegionColumn() | PolygonExpression():
                scale = fixed(math.degrees(1.0) ** 2, self.dialect)
                return exp.Mul(this=call("AREA", self._value(geometry)), expression=scale)

    def centroid(self, geometry: PolygonExpression | RegionColumn) -> PointExpression:
        """See `Backend.centroid`."""
        if isinstance(geometry, RegionColumn):
            corners = call("residua_corners", geometry.column)
        else:
            corners = _corners(geometry)
        point = call("residua_centroid", corners)
        return _degrees(point)

    def near(self, point: PointExpression, circle: Constant | CircleExpression) -> exp.Expr | None:
        """See `Backend.near`."""
        if point.indexed_table is None:
            return None
        if isinstance(circle, CircleExpression):
            if not is_elsewhere(circle, point.indexed_table):
                return None
            return _operator(self._value(point), "<@", self._value(circle))
        if self._decide(circle, lambda r: _radius(r) > 89.0):
            return None
        # A little wider, so that rounding cannot take a row away that the distance keeps.
        wider = _derived(circle, lambda r: Circle(*_center(r), _radius(r) + 1e-7))
        return _operator(self._value(point), "<@", self._value(wider))

    def healpix(self, order: exp.Expr, point: Geometry) -> exp.Expr:
        """See `Backend.healpix`."""
        p = as_point(point, self.dialect)
        return call("residua_healpix_index", order, p.ra, p.dec)

    def healpix_center(self, order: exp.Expr, index: exp.Expr) -> PointExpression:
        """See `Backend.healpix_center`."""
        point = call("residua_healpix_center", order, index)
        return _degrees(point)

    def _decide(self, constant: Constant, question: Callable[[Region], bool]) -> bool:
        """Answer a question, and note that the statement serves regions of this answer alone."""
        answer = question(constant.region)
        again = constant.again
        if constant.slots:
            self.guards.append(lambda v: question(again(v)) == answer)
        return answer

    def _meets_range(self, geometry: Geometry, box: Constant, *, indexed: bool) -> exp.Expr:
        # pgsphere's boxes are narrower than 180 degrees.
        pieces = _pieces(box.region)
        self._decide(box, lambda r: _pieces(r) == pieces)
        tests: list[exp.Expr] = []
        for i in range(pieces):
            part = _derived(box, lambda r, i=i: _piece(r, i, pieces))  # type: ignore[misc]
            corners = (
                self._value(_derived(part, lambda r: _corner(r, upper=False))),
                self._value(_derived(part, lambda r: _corner(r, upper=True))),
            )
            test = _operator(self._value(geometry), "&&", call("sbox", *corners))
            # Its circle meets boxes across RA 0 only sometimes: ask for the circle around it.
            if indexed and not self._decide(part, lambda r: bounding_cap(r)[1] > 89.0):
                test = self._with_index(test, geometry, _derived(part, _around))
            tests.append(test)
        return exp.Paren(this=exp.or_(*tests))

    def _with_index(self, test: exp.Expr, a: Geometry, b: Geometry) -> exp.Expr:
        """Ask the index for the circles around footprints first: that alters no answer."""
        for other, indexed in ((a, b), (b, a)):
            if not isinstance(indexed, RegionColumn) or indexed.indexed_table is None:
                continue
            if isinstance(other, Constant):
                serves = isinstance(other.region, Point | Circle | Polygon)
            else:
                serves = is_elsewhere(other, indexed.indexed_table)
            if serves:
                operator = "@>" if _is_point(other) else "&&"
                near = _operator(_bounds(indexed.indexed_table), operator, self._value(other))
                return both([near, test])
        return test

    def _value(self, geometry: Geometry) -> exp.Expr:  # noqa: PLR0911 one for each kind
        match geometry:
            case Constant():
                return self._constant(geometry)
            case PointExpression(ra=ra, dec=dec, indexed_table=None):
                return call("residua_point", ra, dec)
            case PointExpression(ra=ra, dec=dec):
                # Word for word as the index has it.
                return call("spoint", call("RADIANS", ra), call("RADIANS", dec))
            case CircleExpression(center=center, radius=radius):
                return call("residua_circle", self._value(center), radius)
            case PolygonExpression():
                return call("residua_polygon", _corners(geometry))
            case RegionColumn(column=column, indexed_table=table):
                if table is not None:
                    return own_column(table, SPOLY_COLUMN)
                return call(SPOLY_FUNCTION, column)

    def _constant(self, constant: Constant) -> exp.Expr:
        region, again, slots = constant.region, constant.again, constant.slots

        def part(of: Callable[[Region], float]) -> exp.Expr:
            return from_slots(of(region), lambda v: of(again(v)), slots, self.dialect)

        if isinstance(region, Polygon):
            return from_slots(
                _polygon_text(region), lambda v: _polygon_text(again(v)), slots, self.dialect,
                "spoly",
            )  # fmt: skip
        if isinstance(region, Range):
            raise AdqlError("a range can only be asked what it intersects")
        point = call(
            "spoint",
            part(lambda r: math.radians(_center(r)[0] % 360.0)),
            part(lambda r: math.radians(_center(r)[1])),
        )
        if isinstance(region, Point):
            return point
        return call("scircle", point, part(lambda r: math.radians(_radius(r))))


def _degrees(point: exp.Expr) -> PointExpression:
    return PointExpression(
        call("DEGREES", call("LONG", point)), call("DEGREES", call("LAT", point))
    )


def _operator(left: exp.Expr, operator: str, right: exp.Expr) -> exp.Expr:
    return exp.Paren(
        this=exp.Operator(this=left.copy(), operator=operator, expression=right.copy())
    )


def _not(condition: exp.Expr) -> exp.Expr:
    return exp.Paren(this=exp.Not(this=exp.Paren(this=condition)))


def _is_point(geometry: Geometry) -> bool:
    return isinstance(geometry, PointExpression) or (
        isinstance(geometry, Constant) and isinstance(geometry.region, Point)
    )


def _derived(constant: Constant, change: Callable[[Region], Region]) -> Constant:
    again = constant.again
    return Constant(change(constant.region), lambda v: change(again(v)), constant.slots)


def _radius(region: Region) -> float:
    assert isinstance(region, Circle)
    return region.radius


def _center(region: Region) -> tuple[float, float]:
    assert isinstance(region, Circle | Point)
    return region.ra, region.dec


def _complement(circle: Constant) -> Constant:
    return _derived(
        circle,
        lambda r: Circle(
            (_center(r)[0] + 180.0) % 360.0, -_center(r)[1], max(0.0, 180.0 - _radius(r))
        ),
    )


def _pieces(region: Region) -> int:
    assert isinstance(region, Range)
    return max(1, math.ceil(region.width / 90.0))


def _piece(region: Region, i: int, pieces: int) -> Region:
    assert isinstance(region, Range)
    step = region.width / pieces
    west = (region.ra_min + i * step) % 360.0
    return Range(west, west + step, region.dec_min, region.dec_max)


def _corner(region: Region, *, upper: bool) -> Region:
    assert isinstance(region, Range)
    if upper:
        return Point(region.ra_max, region.dec_max)
    return Point(region.ra_min, region.dec_min)


def _around(region: Region) -> Region:
    direction, radius = bounding_cap(region)
    return Circle(*sky_position(direction), min(180.0, radius + 1e-6))


def _polygon_text(region: Region) -> str:
    assert isinstance(region, Polygon)
    corners = ",".join(f"({ra % 360.0!r}d,{dec!r}d)" for ra, dec in region.corners)
    return f"{{{corners}}}"


def _corners(polygon: PolygonExpression) -> exp.Expr:
    return exp.Array(
        expressions=[x.copy() for corner in polygon.corners for x in (corner.ra, corner.dec)]
    )


def _bounds(table: str) -> exp.Expr:
    """Circle around a row's footprint, word for word as the index has it."""
    tree = sqlglot.parse_one(bounds_sql(), dialect="postgres")
    for column in tree.find_all(exp.Column):
        column.set("table", exp.to_identifier(table, quoted=True))
    return tree
