"""Spatial SQL of SQLite: functions of ours behind the R*Tree."""

import math

from sqlglot import exp

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
from residua.sphere.regions import Region
from residua.sphere.relations import bounding_cap

__all__ = ["SqliteBackend"]


class SqliteBackend:
    """SQLite: predicates of `residua.access.store.sqlite_functions` behind the R*Tree."""

    dialect = "sqlite"

    def __init__(self) -> None:
        self.guards: list[Guard] = []

    def contains(self, inner: Geometry, outer: Geometry, *, indexed: bool) -> exp.Expr:
        """See `Backend.contains`."""
        test = call("adql_contains", self._text(inner), self._text(outer))
        return _with_index(test, inner, outer) if indexed else test

    def intersects(self, a: Geometry, b: Geometry, *, indexed: bool) -> exp.Expr:
        """See `Backend.intersects`."""
        test = call("adql_intersects", self._text(a), self._text(b))
        return _with_index(test, a, b) if indexed else test

    def distance(self, a: Geometry, b: Geometry) -> exp.Expr:
        """See `Backend.distance`."""
        p, q = as_point(a, self.dialect), as_point(b, self.dialect)
        return call("adql_distance", p.ra, p.dec, q.ra, q.dec)

    def area(self, geometry: Geometry) -> exp.Expr:
        """See `Backend.area`."""
        if isinstance(geometry, Constant | CircleExpression):
            return area_of(geometry, self.dialect)
        return call("adql_area", self._text(geometry))

    def centroid(self, geometry: PolygonExpression | RegionColumn) -> PointExpression:
        """See `Backend.centroid`."""
        text = self._text(geometry)
        return PointExpression(call("adql_centroid_ra", text), call("adql_centroid_dec", text))

    def near(self, point: PointExpression, circle: Constant | CircleExpression) -> exp.Expr | None:
        """See `Backend.near`."""
        if point.indexed_table is None:
            return None
        if isinstance(circle, Constant):
            return _rtree(point.indexed_table, circle, point.rtree)
        if is_elsewhere(circle, point.indexed_table):
            return _rtree_around(point.indexed_table, circle, point.rtree)
        return None

    def healpix(self, order: exp.Expr, point: Geometry) -> exp.Expr:
        """See `Backend.healpix`."""
        p = as_point(point, self.dialect)
        return call("adql_healpix_index", order, p.ra, p.dec)

    def healpix_center(self, order: exp.Expr, index: exp.Expr) -> PointExpression:
        """See `Backend.healpix_center`."""
        return PointExpression(
            call("adql_healpix_ra", order, index), call("adql_healpix_dec", order, index)
        )

    def _text(self, geometry: Geometry) -> exp.Expr:
        match geometry:
            case Constant(region=region, again=again, slots=slots):
                return from_slots(str(region), lambda v: str(again(v)), slots, self.dialect)
            case PointExpression(ra=ra, dec=dec):
                return call("adql_point", ra, dec)
            case CircleExpression(center=center, radius=radius):
                return call("adql_circle", center.ra, center.dec, radius)
            case PolygonExpression(corners=corners):
                return call(
                    "adql_polygon", *(x for corner in corners for x in (corner.ra, corner.dec))
                )
            case RegionColumn(column=column):
                return column


def _with_index(test: exp.Expr, a: Geometry, b: Geometry) -> exp.Expr:
    for constant, indexed in ((a, b), (b, a)):
        if not isinstance(indexed, RegionColumn | PointExpression):
            continue
        table, rtree = indexed.indexed_table, indexed.rtree
        if table is None:
            continue
        if isinstance(constant, Constant):
            return both([_rtree(table, constant, rtree), test])
        if is_elsewhere(constant, table) and isinstance(
            constant, PointExpression | CircleExpression
        ):
            return both([_rtree_around(table, constant, rtree), test])
    return test


def _rtree_around(table: str, region: PointExpression | CircleExpression, rtree: str) -> exp.Expr:
    """Rows whose bounding box meets that of a region of another table's columns."""
    if isinstance(region, PointExpression):
        center, radius = region, fixed(0.0, "sqlite")
    else:
        center, radius = region.center, region.radius
    conditions: list[exp.Expr] = []
    for axis, name in enumerate("xyz"):
        for upper in (0, 1):
            side = exp.Literal.number(2 * axis + upper)
            value = call("adql_bound", center.ra, center.dec, radius, side)
            column = exp.column(f"{name}{1 - upper}")
            comparison = exp.LTE if upper else exp.GTE
            conditions.append(comparison(this=column, expression=value))
    inside = exp.select("row_id").from_(rtree).where(*conditions)
    return exp.In(this=own_column(table, "row_id"), query=exp.Subquery(this=inside))


def _rtree(table: str, constant: Constant, rtree: str) -> exp.Expr:
    """Rows whose bounding box meets that of the region, in Cartesian coordinates."""
    conditions: list[exp.Expr] = []
    again = constant.again
    for axis in range(3):
        for upper in (False, True):

            def bound(region: Region, axis: int = axis, upper: bool = upper) -> float:
                direction, radius = bounding_cap(region)
                chord = 2.0 * math.sin(math.radians(min(radius, 180.0)) / 2.0) + 1e-6
                return direction[axis] + chord if upper else direction[axis] - chord

            value = from_slots(
                bound(constant.region),
                lambda v, bound=bound: bound(again(v)),  # type: ignore[misc]
                constant.slots,
                "sqlite",
            )
            column = exp.column(f"{'xyz'[axis]}{0 if upper else 1}")
            comparison = exp.LTE if upper else exp.GTE
            conditions.append(comparison(this=column, expression=value))
    inside = exp.select("row_id").from_(rtree).where(*conditions)
    return exp.In(this=own_column(table, "row_id"), query=exp.Subquery(this=inside))
