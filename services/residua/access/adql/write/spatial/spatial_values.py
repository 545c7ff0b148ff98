"""ADQL's functions of geometries whose value is a number, a text or a truth."""

from collections.abc import Sequence

from sqlglot import exp

from residua.access.adql.errors import AdqlError
from residua.access.adql.write.spatial.expressions import (
    Constant,
    Geometry,
    PointExpression,
    as_point,
)
from residua.access.adql.write.spatial.geometry import (
    Reader,
    a_point,
    check_count,
    geometry,
    point_of,
    whole_number,
)
from residua.access.adql.write.words import fixed, truth
from residua.sphere.regions import Point

__all__ = ["distance_points", "predicate", "scalar"]


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
        check_count(name, arguments, 1)
        return backend.area(geometry(arguments[0], reader))
    if name in {"COORD1", "COORD2"}:
        check_count(name, arguments, 1)
        point = as_point(a_point(geometry(arguments[0], reader), name), backend.dialect)
        return (point.ra if name == "COORD1" else point.dec).copy()
    if name == "COORDSYS":
        check_count(name, arguments, 1)
        geometry(arguments[0], reader)
        return fixed("ICRS", backend.dialect)
    if name == "IVO_HEALPIX_INDEX":
        return _healpix_index(arguments, reader)
    return None


def predicate(
    name: str, arguments: Sequence[exp.Expr], reader: Reader, *, indexed: bool
) -> exp.Expr:
    """CONTAINS or INTERSECTS as a condition; see `Backend.contains`."""
    check_count(name, arguments, 2)
    a, b = (geometry(argument, reader) for argument in arguments)
    if name == "INTERSECTS":
        return reader.backend.intersects(a, b, indexed=indexed)
    if isinstance(b, PointExpression) or (isinstance(b, Constant) and isinstance(b.region, Point)):
        raise AdqlError("CONTAINS: the second argument must be a region, not a point")
    return reader.backend.contains(a, b, indexed=indexed)


def distance_points(arguments: Sequence[exp.Expr], reader: Reader) -> tuple[Geometry, Geometry]:
    """Return the two points of DISTANCE, given as points or as four numbers."""
    if len(arguments) == 4:
        return point_of(arguments[:2], reader), point_of(arguments[2:], reader)
    check_count("DISTANCE", arguments, 2)
    return geometry(arguments[0], reader), geometry(arguments[1], reader)


def _healpix_index(arguments: Sequence[exp.Expr], reader: Reader) -> exp.Expr:
    if len(arguments) == 2:
        point = a_point(geometry(arguments[1], reader), "ivo_healpix_index")
    else:
        check_count("IVO_HEALPIX_INDEX", arguments, 3)
        point = point_of(arguments[1:], reader)
    return reader.backend.healpix(whole_number("ivo_healpix_index", arguments[0], reader), point)
