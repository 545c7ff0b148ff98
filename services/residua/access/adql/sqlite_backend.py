"""Spatial SQL of SQLite: functions of ours behind the R*Tree."""

import math

from sqlglot import exp

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
from residua.obscore.spatial import RTREE_TABLE
from residua.sphere.regions import (
    Circle,
    Point,
    Polygon,
    Range,
    Region,
)
from residua.sphere.relations import bounding_cap

__all__ = ["SqliteBackend"]


class SqliteBackend:
    """SQLite: predicates of `residua.access.store.sqlite_functions` behind the R*Tree."""

    dialect = "sqlite"

    def contains(self, inner: Geometry, outer: Geometry) -> exp.Expr:
        """See `Backend.contains`."""
        test = call("adql_contains", self._text(inner), self._text(outer))
        return self._with_index(test, inner, outer)

    def intersects(self, a: Geometry, b: Geometry) -> exp.Expr:
        """See `Backend.intersects`."""
        test = call("adql_intersects", self._text(a), self._text(b))
        return self._with_index(test, a, b)

    def distance(self, a: Geometry, b: Geometry) -> exp.Expr:
        """See `Backend.distance`."""
        p, q = as_point(a), as_point(b)
        return call("adql_distance", p.ra, p.dec, q.ra, q.dec)

    def area(self, geometry: Geometry) -> exp.Expr:
        """See `Backend.area`."""
        if isinstance(geometry, CircleExpression):
            return circle_area(geometry.radius)
        return call("adql_area", self._text(geometry))

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
                return call("adql_point", ra, dec)
            case CircleExpression(center=center, radius=radius):
                return call("adql_circle", center.ra, center.dec, radius)
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
            exp.GTE(this=low, expression=number(value - chord)),
            exp.LTE(this=high, expression=number(value + chord)),
        ]
    inside = exp.select("row_id").from_(RTREE_TABLE).where(*conditions)
    return exp.In(this=own_column(table, "row_id"), query=exp.Subquery(this=inside))
