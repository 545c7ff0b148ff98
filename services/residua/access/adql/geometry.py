"""ADQL's geometry functions, from their syntax to regions and predicates."""

from collections.abc import Callable, Sequence

from sqlglot import exp

from residua.access.adql.errors import AdqlError
from residua.access.adql.expressions import (
    Backend,
    CircleExpression,
    Geometry,
    PointExpression,
    RegionColumn,
)
from residua.sphere.regions import (
    Circle,
    Point,
    Polygon,
    Range,
    RegionError,
    region_of,
)

__all__ = [
    "CONSTRUCTORS",
    "Rewrite",
    "constant",
    "distance_points",
    "geometry",
    "name_of",
    "predicate",
    "scalar",
]

type Rewrite = Callable[[exp.Expr], exp.Expr]

CONSTRUCTORS = frozenset({"POINT", "CIRCLE", "POLYGON", "BOX", "CENTROID"})
"""Functions whose value is a region."""

_SYSTEMS = frozenset({"", "ICRS", "ICRS GEOCENTER", "ICRS BARYCENTER", "J2000", "FK5"})


def name_of(node: exp.Expr | None) -> str | None:
    """Name of a function call in upper case."""
    return node.name.upper() if isinstance(node, exp.Anonymous) else None


def constant(node: exp.Expr) -> float | None:  # noqa: PLR0911 one for each kind
    """Value of an expression made of numbers alone."""
    match node:
        case exp.Literal() if not node.is_string:
            return float(node.this)
        case exp.Paren():
            return constant(node.this)
        case exp.Neg():
            value = constant(node.this)
            return None if value is None else -value
        case exp.Add() | exp.Sub() | exp.Mul():
            a, b = constant(node.this), constant(node.expression)
            if a is None or b is None:
                return None
            if isinstance(node, exp.Mul):
                return a * b
            return a + b if isinstance(node, exp.Add) else a - b
        case _:
            return None


def geometry(node: exp.Expr, rewrite: Rewrite) -> Geometry:
    """Read a geometry: a constructor, CENTROID, or a column with footprints.

    Raises
    ------
    AdqlError
        It is none, or its numbers make none.
    """
    if isinstance(node, exp.Paren):
        return geometry(node.this, rewrite)
    if isinstance(node, exp.Column):
        return _region_column(node)
    name = name_of(node)
    if name == "REGION":
        raise AdqlError("REGION is not offered; use POINT, CIRCLE, POLYGON or BOX")
    if name == "RESIDUA_RANGE":
        return _range(node.expressions)
    if name not in CONSTRUCTORS:
        raise AdqlError(f"{node.sql()[:60]} is no geometry; expected POINT, CIRCLE, POLYGON, BOX, "
                        "CENTROID or a region column")  # fmt: skip
    arguments = _without_system(name, node.expressions)
    try:
        return _CONSTRUCT[name](arguments, rewrite)
    except RegionError as e:
        raise AdqlError(f"{name}: {e}") from e


def scalar(
    name: str, arguments: Sequence[exp.Expr], rewrite: Rewrite, backend: Backend
) -> exp.Expr | None:
    """Build SQL of a geometry function whose value is a number or text; `None` for others."""
    if name in {"CONTAINS", "INTERSECTS"}:
        test = predicate(name, arguments, rewrite, backend)
        return exp.Case().when(test, "1").else_("0")
    if name == "DISTANCE":
        return backend.distance(*distance_points(arguments, rewrite))
    if name == "AREA":
        _count(name, arguments, 1)
        return backend.area(geometry(arguments[0], rewrite))
    if name in {"COORD1", "COORD2"}:
        _count(name, arguments, 1)
        ra, dec = _coordinates(geometry(arguments[0], rewrite), name)
        return ra if name == "COORD1" else dec
    if name == "COORDSYS":
        _count(name, arguments, 1)
        geometry(arguments[0], rewrite)
        return exp.Literal.string("ICRS")
    return None


def predicate(
    name: str, arguments: Sequence[exp.Expr], rewrite: Rewrite, backend: Backend
) -> exp.Expr:
    """CONTAINS or INTERSECTS as a condition."""
    _count(name, arguments, 2)
    a, b = (geometry(argument, rewrite) for argument in arguments)
    if name == "INTERSECTS":
        return backend.intersects(a, b)
    if isinstance(b, Point | PointExpression):
        raise AdqlError("CONTAINS: the second argument must be a region, not a point")
    return backend.contains(a, b)


def distance_points(arguments: Sequence[exp.Expr], rewrite: Rewrite) -> tuple[Geometry, Geometry]:
    """Return the two points of DISTANCE, given as points or as four numbers."""
    if len(arguments) == 4:
        return _point(arguments[:2], rewrite), _point(arguments[2:], rewrite)
    _count("DISTANCE", arguments, 2)
    return geometry(arguments[0], rewrite), geometry(arguments[1], rewrite)


def _region_column(node: exp.Column) -> RegionColumn:
    source, column = node.meta.get("source"), node.meta.get("column")
    if column is None or column.name != "s_region":
        raise AdqlError(f"the column {node.name} is no region")
    if source is not None and source.region == node.name:
        return RegionColumn(node, node.table)
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


def _point(arguments: Sequence[exp.Expr], rewrite: Rewrite) -> Point | PointExpression:
    _count("POINT", arguments, 2)
    values = [constant(a) for a in arguments]
    if values[0] is not None and values[1] is not None:
        try:
            return Point(values[0], values[1])
        except RegionError as e:
            raise AdqlError(f"POINT: {e}") from e
    ra, dec = arguments
    indexed = None
    if isinstance(ra, exp.Column) and isinstance(dec, exp.Column) and ra.table == dec.table:
        source = ra.meta.get("source")
        if source is not None and source.position == (ra.name, dec.name):
            indexed = ra.table
    return PointExpression(rewrite(ra), rewrite(dec), indexed)


def _circle(arguments: Sequence[exp.Expr], rewrite: Rewrite) -> Circle | CircleExpression:
    if len(arguments) == 2:
        center = geometry(arguments[0], rewrite)
    else:
        _count("CIRCLE", arguments, 3)
        center = _point(arguments[:2], rewrite)
    radius = constant(arguments[-1])
    if isinstance(center, Point) and radius is not None:
        return Circle(center.ra, center.dec, radius)
    if isinstance(center, Point):
        ra, dec = (exp.Paren(this=exp.Literal.number(repr(v))) for v in (center.ra, center.dec))
        center = PointExpression(ra, dec)
    if not isinstance(center, PointExpression):
        raise AdqlError("CIRCLE: the centre must be a point")
    return CircleExpression(center, rewrite(arguments[-1]))


def _polygon(arguments: Sequence[exp.Expr], rewrite: Rewrite) -> Polygon:
    if arguments and name_of(arguments[0]) == "POINT":
        points = [geometry(a, rewrite) for a in arguments]
        corners = [(p.ra, p.dec) for p in points if isinstance(p, Point)]
        if len(corners) != len(points):
            raise AdqlError("POLYGON takes constant corners")
        return Polygon(tuple(corners))
    values = _numbers("POLYGON", arguments)
    region = region_of("POLYGON", values)
    assert isinstance(region, Polygon)
    return region


def _box(arguments: Sequence[exp.Expr], rewrite: Rewrite) -> Polygon:
    if len(arguments) == 3:
        center = geometry(arguments[0], rewrite)
        if not isinstance(center, Point):
            raise AdqlError("BOX: the centre must be a constant point")
        ra, dec = center.ra, center.dec
        width, height = _numbers("BOX", arguments[1:])
    else:
        _count("BOX", arguments, 4)
        ra, dec, width, height = _numbers("BOX", arguments)
    if not (0.0 < width < 180.0 and 0.0 < height < 180.0):
        raise AdqlError(f"BOX: {width} x {height} is not a size between 0 and 180 degrees")
    # ADQL 2.1, 4.2.9: the polygon with these corners.
    w, h = width / 2.0, height / 2.0
    return Polygon(((ra - w, dec - h), (ra + w, dec - h), (ra + w, dec + h), (ra - w, dec + h)))


def _centroid(arguments: Sequence[exp.Expr], rewrite: Rewrite) -> Point | PointExpression:
    _count("CENTROID", arguments, 1)
    region = geometry(arguments[0], rewrite)
    match region:
        case Point() | PointExpression():
            return region
        case Circle(ra=ra, dec=dec):
            return Point(ra, dec)
        case CircleExpression(center=center):
            return center
        case Polygon():
            return Point(*region.centroid)
        case RegionColumn(indexed_table=str(table)):
            source = region.column.meta["source"]
            ra_column, dec_column = (
                exp.column(name, table=table, quoted=True) for name in source.position
            )
            return PointExpression(ra_column, dec_column, table)
        case _:
            raise AdqlError("CENTROID is offered for constants and for s_region of ivoa.ObsCore")


def _range(arguments: Sequence[exp.Expr]) -> Range:
    region = region_of("RANGE", _numbers("RANGE", arguments))
    assert isinstance(region, Range)
    return region


def _coordinates(region: Geometry, name: str) -> tuple[exp.Expr, exp.Expr]:
    match region:
        case Point(ra=ra, dec=dec):
            return exp.Literal.number(repr(ra)), exp.Literal.number(repr(dec))
        case PointExpression(ra=ra_expression, dec=dec_expression):
            return ra_expression.copy(), dec_expression.copy()
        case _:
            raise AdqlError(f"{name} takes a point")


def _numbers(name: str, arguments: Sequence[exp.Expr]) -> list[float]:
    values = [constant(a) for a in arguments]
    known = [v for v in values if v is not None]
    if len(known) != len(values):
        raise AdqlError(f"{name} takes numbers, not columns")
    return known


def _count(name: str, arguments: Sequence[exp.Expr], expected: int) -> None:
    if len(arguments) != expected:
        raise AdqlError(f"{name} takes {expected} arguments, not {len(arguments)}")


_CONSTRUCT: dict[str, Callable[[Sequence[exp.Expr], Rewrite], Geometry]] = {
    "POINT": _point,
    "CIRCLE": _circle,
    "POLYGON": _polygon,
    "BOX": _box,
    "CENTROID": _centroid,
}
