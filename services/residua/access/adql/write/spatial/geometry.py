"""ADQL's geometry functions, from their syntax to regions and predicates."""

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
from residua.access.adql.write.words import Argument, fixed, truth
from residua.sphere.regions import Point

__all__ = ["Reader", "distance_points", "geometry", "predicate", "scalar"]

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


def scalar(  # noqa: PLR0911 one for each function
    name: str, arguments: Sequence[exp.Expr], reader: Reader
) -> exp.Expr | None:
    """Build SQL of a geometry function whose value is a number or text; `None` for others."""
    backend = reader.backend
    if name in {"CONTAINS", "INTERSECTS"}:
        return truth(predicate(name, arguments, reader, indexed=False), backend.dialect)
    if name == "DISTANCE":
        return backend.distance(*distance_points(arguments, reader))
    if name == "AREA":
        _count(name, arguments, 1)
        return backend.area(geometry(arguments[0], reader))
    if name in {"COORD1", "COORD2"}:
        _count(name, arguments, 1)
        point = as_point(_a_point(geometry(arguments[0], reader), name), backend.dialect)
        return (point.ra if name == "COORD1" else point.dec).copy()
    if name == "COORDSYS":
        _count(name, arguments, 1)
        geometry(arguments[0], reader)
        return fixed("ICRS", backend.dialect)
    if name == "IVO_HEALPIX_INDEX":
        return _healpix_index(arguments, reader)
    return None


def predicate(
    name: str, arguments: Sequence[exp.Expr], reader: Reader, *, indexed: bool
) -> exp.Expr:
    """CONTAINS or INTERSECTS as a condition; see `Backend.contains`."""
    _count(name, arguments, 2)
    a, b = (geometry(argument, reader) for argument in arguments)
    if name == "INTERSECTS":
        return reader.backend.intersects(a, b, indexed=indexed)
    if isinstance(b, PointExpression) or (isinstance(b, Constant) and isinstance(b.region, Point)):
        raise AdqlError("CONTAINS: the second argument must be a region, not a point")
    return reader.backend.contains(a, b, indexed=indexed)


def distance_points(arguments: Sequence[exp.Expr], reader: Reader) -> tuple[Geometry, Geometry]:
    """Return the two points of DISTANCE, given as points or as four numbers."""
    if len(arguments) == 4:
        return _point(arguments[:2], reader), _point(arguments[2:], reader)
    _count("DISTANCE", arguments, 2)
    return geometry(arguments[0], reader), geometry(arguments[1], reader)


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


def _point(arguments: Sequence[exp.Expr], reader: Reader) -> Constant | PointExpression:
    _count("POINT", arguments, 2)
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
        _count("CIRCLE", arguments, 3)
        center = _point(arguments[:2], reader)
    radius = reader.number(arguments[-1])
    if isinstance(center, Constant) and isinstance(center.region, Point) and radius is not None:
        return circle_around(center, radius)
    _a_point(center, "CIRCLE")
    return CircleExpression(
        as_point(center, reader.backend.dialect), _double("CIRCLE", arguments[-1], reader)
    )


def _polygon(arguments: Sequence[exp.Expr], reader: Reader) -> Constant | PolygonExpression:
    if arguments and name_of(arguments[0]) in {"POINT", "CENTROID"}:
        points = [_a_point(geometry(a, reader), "POLYGON") for a in arguments]
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
        center = _a_point(geometry(arguments[0], reader), "BOX")
    else:
        _count("BOX", arguments, 4)
        center = _point(arguments[:2], reader)
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
    _count("CENTROID", arguments, 1)
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


def _healpix_index(arguments: Sequence[exp.Expr], reader: Reader) -> exp.Expr:
    if len(arguments) == 2:
        point = _a_point(geometry(arguments[1], reader), "ivo_healpix_index")
    else:
        _count("IVO_HEALPIX_INDEX", arguments, 3)
        point = _point(arguments[1:], reader)
    return reader.backend.healpix(_whole("ivo_healpix_index", arguments[0], reader), point)


def _healpix_center(arguments: Sequence[exp.Expr], reader: Reader) -> PointExpression:
    _count("IVO_HEALPIX_CENTER", arguments, 2)
    order, index = (_whole("ivo_healpix_center", a, reader) for a in arguments)
    return reader.backend.healpix_center(order, index)


def _a_point[G: Geometry](region: G, name: str) -> G:
    if isinstance(region, PointExpression):
        return region
    if isinstance(region, Constant) and isinstance(region.region, Point):
        return region
    raise AdqlError(f"{name} takes a point")


def _double(name: str, node: exp.Expr, reader: Reader) -> exp.Expr:
    if not meaning_of(node).is_number:
        raise AdqlError(f"{name} takes numbers; {short(node)} is none")
    return reader.double(node)


def _whole(name: str, node: exp.Expr, reader: Reader) -> exp.Expr:
    if not meaning_of(node).is_whole:
        raise AdqlError(f"{name} takes whole numbers; {short(node)} is none")
    return reader.whole(node)


def _numbers(name: str, arguments: Sequence[exp.Expr], reader: Reader) -> list[Number]:
    values = [reader.number(a) for a in arguments]
    known = [v for v in values if v is not None]
    if len(known) != len(values):
        raise AdqlError(f"{name} takes numbers, not columns")
    return known


def _count(name: str, arguments: Sequence[exp.Expr], expected: int) -> None:
    if len(arguments) != expected:
        raise AdqlError(f"{name} takes {expected} arguments, not {len(arguments)}")


_CONSTRUCT: dict[str, Callable[[Sequence[exp.Expr], Reader], Geometry]] = {
    "POINT": _point,
    "CIRCLE": _circle,
    "POLYGON": _polygon,
    "BOX": _box,
    "CENTROID": _centroid,
    "IVO_HEALPIX_CENTER": _healpix_center,
}
