"""ADQL's geometries, from their syntax to regions: constructors and columns."""

from collections.abc import Callable, Sequence
from typing import Protocol

from sqlglot import exp

from residua.access.adql.errors import AdqlError
from residua.access.adql.meaning.constants import Number
from residua.access.adql.meaning.expression_types import meaning_of
from residua.access.adql.meaning.geometry_types import CONSTRUCTORS
from residua.access.adql.meaning.kinds import Meaning
from residua.access.adql.meaning.trees import name_of, short
from residua.access.adql.write.arithmetic import arithmetic
from residua.access.adql.write.spatial.constant_regions import (
    box_around,
    circle_around,
    constant,
    middle_of,
    polygon_of,
)
from residua.access.adql.write.spatial.expressions import (
    Backend,
    CircleExpression,
    Constant,
    Geometry,
    PointExpression,
    PolygonExpression,
    RegionColumn,
    as_point,
)
from residua.access.adql.write.words import Argument, fixed
from residua.sphere.regions import Point

__all__ = ["Reader", "a_point", "check_count", "geometry", "point_of", "whole_number"]

_SYSTEMS = frozenset({"", "ICRS", "ICRS GEOCENTER", "ICRS BARYCENTER", "J2000", "FK5"})


class Reader(Protocol):
    """What turns the arguments of a geometry into SQL."""

    backend: Backend
    grouped: bool

    def number(self, node: exp.Expr) -> Number | None:
        """Return the number that literals alone stand for."""
        ...

    def double(self, node: exp.Expr) -> exp.Expr:
        """Write a number as a double."""
        ...

    def whole(self, node: exp.Expr) -> exp.Expr:
        """Write a whole number."""
        ...

    def text(self, node: exp.Expr) -> exp.Expr:
        """Write a text."""
        ...


def geometry(node: exp.Expr, reader: Reader) -> Geometry:
    """Read a geometry: a constructor, CENTROID, or a column with footprints.

    Raises
    ------
    AdqlError
        It is none, or its numbers make none.
    """
    if isinstance(node, exp.Paren):
        return geometry(node.this, reader)
    if isinstance(node, exp.Column):
        return _region_column(node, reader)
    name = name_of(node)
    if name == "REGION":
        raise AdqlError("REGION is not offered; use POINT, CIRCLE, POLYGON or BOX")
    if name == "RESIDUA_RANGE":
        return constant("RANGE", _numbers("RANGE", node.expressions, reader))
    if name not in CONSTRUCTORS:
        raise AdqlError(f"{short(node)} is no geometry; expected POINT, CIRCLE, POLYGON, BOX, "
                        "CENTROID or a region column")  # fmt: skip
    arguments = _without_system(name, node.expressions)
    return _CONSTRUCT[name](arguments, reader)


def _region_column(node: exp.Column, reader: Reader) -> RegionColumn:
    source, meaning = node.meta.get("source"), meaning_of(node)
    if meaning.column is None or not meaning.column.region:
        raise AdqlError(f"the column {node.name} is no region")
    if source is not None and source.region == node.name and not reader.grouped:
        return RegionColumn(node, node.table, source.rtree)
    return RegionColumn(node)


def _without_system(name: str, arguments: Sequence[exp.Expr]) -> Sequence[exp.Expr]:
    if name == "CENTROID" or not arguments:
        return arguments
    first = arguments[0]
    if not (isinstance(first, exp.Literal) and first.is_string):
        return arguments
    if first.this.strip().upper() not in _SYSTEMS:
        raise AdqlError(f"{name}: the coordinate system {first.this[:30]!r} is not ICRS")
    return arguments[1:]


def point_of(arguments: Sequence[exp.Expr], reader: Reader) -> Constant | PointExpression:
    """Read a point of two numbers."""
    check_count("POINT", arguments, 2)
    ra, dec = arguments
    values = [reader.number(a) for a in arguments]
    known = [value for value in values if value is not None]
    if len(known) == 2:
        return constant("POINT", known)
    indexed, rtree = None, ""
    if isinstance(ra, exp.Column) and isinstance(dec, exp.Column) and ra.table == dec.table:
        source = ra.meta.get("source")
        if source is not None and source.position == (ra.name, dec.name) and not reader.grouped:
            indexed, rtree = ra.table, source.rtree
    return PointExpression(
        _double("POINT", ra, reader), _double("POINT", dec, reader), indexed, rtree
    )


def _circle(arguments: Sequence[exp.Expr], reader: Reader) -> Constant | CircleExpression:
    if len(arguments) == 2:
        center = geometry(arguments[0], reader)
    else:
        check_count("CIRCLE", arguments, 3)
        center = point_of(arguments[:2], reader)
    radius = reader.number(arguments[-1])
    if isinstance(center, Constant) and isinstance(center.region, Point) and radius is not None:
        return circle_around(center, radius)
    a_point(center, "CIRCLE")
    return CircleExpression(
        as_point(center, reader.backend.dialect), _double("CIRCLE", arguments[-1], reader)
    )


def _polygon(arguments: Sequence[exp.Expr], reader: Reader) -> Constant | PolygonExpression:
    if arguments and name_of(arguments[0]) in {"POINT", "CENTROID"}:
        points = [a_point(geometry(a, reader), "POLYGON") for a in arguments]
        constants = [p for p in points if isinstance(p, Constant)]
        if len(constants) == len(points):
            return polygon_of(constants)
        return PolygonExpression(tuple(as_point(p, reader.backend.dialect) for p in points))
    if len(arguments) % 2 or len(arguments) < 6:
        raise AdqlError(f"POLYGON takes pairs of numbers, three or more, not {len(arguments)}")
    values = [reader.number(a) for a in arguments]
    known = [value for value in values if value is not None]
    if len(known) == len(values):
        return constant("POLYGON", known)
    pairs = zip(arguments[::2], arguments[1::2], strict=True)
    return PolygonExpression(
        tuple(
            PointExpression(_double("POLYGON", ra, reader), _double("POLYGON", dec, reader))
            for ra, dec in pairs
        )
    )


def _box(arguments: Sequence[exp.Expr], reader: Reader) -> Constant | PolygonExpression:
    if len(arguments) == 3:
        center = a_point(geometry(arguments[0], reader), "BOX")
    else:
        check_count("BOX", arguments, 4)
        center = point_of(arguments[:2], reader)
    size = [reader.number(a) for a in arguments[-2:]]
    known = [value for value in size if value is not None]
    if isinstance(center, Constant) and len(known) == 2:
        return box_around(center, known[0], known[1])
    dialect = reader.backend.dialect
    point = as_point(center, dialect)
    half = Argument(fixed(0.5, dialect), Meaning("double", least=0.5, most=0.5))
    any_double = Meaning("double", least=1e-60, most=1e60)
    w, h = (
        Argument(
            arithmetic("*", half, Argument(_double("BOX", a, reader), any_double), dialect),
            any_double,
        )
        for a in arguments[-2:]
    )
    ra, dec = Argument(point.ra, any_double), Argument(point.dec, any_double)

    def corner(east: str, north: str) -> PointExpression:
        return PointExpression(
            arithmetic("+" if east == "+" else "-", ra, w, dialect),
            arithmetic("+" if north == "+" else "-", dec, h, dialect),
        )

    return PolygonExpression(
        (corner("-", "-"), corner("+", "-"), corner("+", "+"), corner("-", "+"))
    )


def _centroid(arguments: Sequence[exp.Expr], reader: Reader) -> Constant | PointExpression:
    check_count("CENTROID", arguments, 1)
    region = geometry(arguments[0], reader)
    match region:
        case PointExpression():
            return region
        case CircleExpression(center=center):
            return center
        case Constant(again=again):
            return Constant(middle_of(region.region), lambda v: middle_of(again(v)), region.slots)
        case RegionColumn(indexed_table=str(table)):
            source = region.column.meta["source"]
            ra_column, dec_column = (
                exp.column(name, table=table, quoted=True) for name in source.position
            )
            return PointExpression(ra_column, dec_column, table)
        case RegionColumn() | PolygonExpression():
            return reader.backend.centroid(region)


def _healpix_center(arguments: Sequence[exp.Expr], reader: Reader) -> PointExpression:
    check_count("IVO_HEALPIX_CENTER", arguments, 2)
    order, index = (whole_number("ivo_healpix_center", a, reader) for a in arguments)
    return reader.backend.healpix_center(order, index)


def a_point[G: Geometry](region: G, name: str) -> G:
    """Return a geometry that must be a point."""
    if isinstance(region, PointExpression):
        return region
    if isinstance(region, Constant) and isinstance(region.region, Point):
        return region
    raise AdqlError(f"{name} takes a point")


def _double(name: str, node: exp.Expr, reader: Reader) -> exp.Expr:
    if not meaning_of(node).is_number:
        raise AdqlError(f"{name} takes numbers; {short(node)} is none")
    return reader.double(node)


def whole_number(name: str, node: exp.Expr, reader: Reader) -> exp.Expr:
    """Write an argument that must be a whole number."""
    if not meaning_of(node).is_whole:
        raise AdqlError(f"{name} takes whole numbers; {short(node)} is none")
    return reader.whole(node)


def _numbers(name: str, arguments: Sequence[exp.Expr], reader: Reader) -> list[Number]:
    values = [reader.number(a) for a in arguments]
    known = [v for v in values if v is not None]
    if len(known) != len(values):
        raise AdqlError(f"{name} takes numbers, not columns")
    return known


def check_count(name: str, arguments: Sequence[exp.Expr], expected: int) -> None:
    """Raise `AdqlError` unless there are as many arguments."""
    if len(arguments) != expected:
        raise AdqlError(f"{name} takes {expected} arguments, not {len(arguments)}")


_CONSTRUCT: dict[str, Callable[[Sequence[exp.Expr], Reader], Geometry]] = {
    "POINT": point_of,
    "CIRCLE": _circle,
    "POLYGON": _polygon,
    "BOX": _box,
    "CENTROID": _centroid,
    "IVO_HEALPIX_CENTER": _healpix_center,
}
