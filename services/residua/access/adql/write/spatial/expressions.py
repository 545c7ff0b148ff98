"""Geometries within a query, and what a database must be able to say about them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sqlglot import exp

from residua.access.adql.errors import AdqlError
from residua.access.adql.meaning.constants import Number, Values
from residua.access.adql.write.words import number
from residua.sphere.regions import Point, Region

__all__ = [
    "Backend",
    "CircleExpression",
    "Constant",
    "Geometry",
    "Guard",
    "PointExpression",
    "PolygonExpression",
    "RegionColumn",
    "as_point",
    "is_elsewhere",
    "own_column",
]

type Guard = Callable[[Values], bool]
"""Whether a statement also serves other literals than those it was written for."""


@dataclass(frozen=True)
class Constant:
    """A region made of literals.

    Parameters
    ----------
    region
        With the literals of this query.
    again
        The region with those of another query of the same shape.
    slots
        Which literals it is made of.
    """

    region: Region
    again: Callable[[Values], Region]
    slots: frozenset[int]

    def __deepcopy__(self, memo: object) -> "Constant":
        return self


@dataclass(frozen=True)
class PointExpression:
    """POINT of two expressions, degrees; ``indexed_table`` when they are an indexed position."""

    ra: exp.Expr
    dec: exp.Expr
    indexed_table: str | None = None
    rtree: str = "obscore_rtree"


@dataclass(frozen=True)
class CircleExpression:
    """CIRCLE of expressions, degrees."""

    center: PointExpression
    radius: exp.Expr


@dataclass(frozen=True)
class PolygonExpression:
    """POLYGON or BOX of expressions: its corners."""

    corners: tuple[PointExpression, ...]


@dataclass(frozen=True)
class RegionColumn:
    """A column with footprints; ``indexed_table`` and its ``rtree`` when it is the table's own."""

    column: exp.Expr
    indexed_table: str | None = None
    rtree: str = ""


type Geometry = Constant | PointExpression | CircleExpression | PolygonExpression | RegionColumn


class Backend(Protocol):
    """How one database writes the spatial predicates.

    Parameters
    ----------
    dialect
        Name of the database's SQL for sqlglot.
    guards
        Filled by what it writes: conditions on the literals under which the same words serve.
    """

    dialect: str
    guards: list[Guard]

    def contains(self, inner: Geometry, outer: Geometry, *, indexed: bool) -> exp.Expr:
        """Predicate: inner lies in outer.

        Parameters
        ----------
        indexed
            Whether NULL counts as false here, so that an index may leave rows out.
        """
        ...

    def intersects(self, a: Geometry, b: Geometry, *, indexed: bool) -> exp.Expr:
        """Predicate: both share a point; see `contains`."""
        ...

    def distance(self, a: Geometry, b: Geometry) -> exp.Expr:
        """Distance of two points, degrees."""
        ...

    def area(self, geometry: Geometry) -> exp.Expr:
        """Area, square degrees."""
        ...

    def centroid(self, geometry: PolygonExpression | RegionColumn) -> PointExpression:
        """Return the centroid of a region of expressions."""
        ...

    def near(self, point: PointExpression, circle: Constant | CircleExpression) -> exp.Expr | None:
        """Condition, answered by an index, that holds wherever the point lies in the circle."""
        ...

    def healpix(self, order: exp.Expr, point: Geometry) -> exp.Expr:
        """Return the number of the HEALPix cell, nested scheme."""
        ...

    def healpix_center(self, order: exp.Expr, index: exp.Expr) -> PointExpression:
        """Return the centre of a HEALPix cell."""
        ...


def is_elsewhere(geometry: Geometry, table: str) -> bool:
    """Whether a point or circle is made of columns, and of none of a table's own."""
    match geometry:
        case PointExpression(ra=ra, dec=dec):
            parts = [ra, dec]
        case CircleExpression(center=center, radius=radius):
            parts = [center.ra, center.dec, radius]
        case _:
            return False
    columns = [column for part in parts for column in part.find_all(exp.Column)]
    return bool(columns) and all(column.table not in {"", table} for column in columns)


def own_column(table: str, name: str) -> exp.Expr:
    """Column of a table that the query knows by this name."""
    return exp.column(name, table=table, quoted=True)


def as_point(geometry: Geometry, dialect: str) -> PointExpression:
    """Point as two expressions; raises `AdqlError` for what is none."""
    match geometry:
        case PointExpression():
            return geometry
        case Constant(region=Point() as point, again=again, slots=slots):
            ra = Number(point.ra, lambda v: _position(again(v)).ra, slots)
            dec = Number(point.dec, lambda v: _position(again(v)).dec, slots)
            return PointExpression(number(ra, dialect), number(dec, dialect))
        case _:
            raise AdqlError("DISTANCE takes two points")


def _position(region: Region) -> Point:
    assert isinstance(region, Point)
    return region
