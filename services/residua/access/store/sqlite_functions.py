"""Functions SQLite lacks: the spatial predicates, and what ADQL has beyond it."""

import math
import sqlite3
from collections.abc import Callable

from residua.access.store.sqlite_values import VALUE_FUNCTIONS, register_aggregates
from residua.sphere.healpix import cell_center, cell_of
from residua.sphere.regions import (
    Circle,
    Point,
    Polygon,
    RegionError,
    parse_region,
)
from residua.sphere.relations import area, contains, intersects
from residua.sphere.vectors import angle, unit_vector

__all__ = ["register_functions"]


type _Value = str | float | int | None


def register_functions(connection: sqlite3.Connection) -> None:
    """Make the functions known to a connection; NULL and what is no region give NULL."""
    for name, arguments, function in (
        ("adql_contains", 2, _contains),
        ("adql_intersects", 2, _intersects),
        ("adql_area", 1, _area),
        ("adql_point", 2, _point),
        ("adql_circle", 3, _circle),
        ("adql_distance", 4, _distance),
        ("adql_polygon", -1, _polygon),
        ("adql_bound", 4, _bound),
        ("adql_centroid_ra", 1, lambda text: _centroid(text)[0]),
        ("adql_centroid_dec", 1, lambda text: _centroid(text)[1]),
        ("adql_healpix_index", 3, cell_of),
        ("adql_healpix_ra", 2, lambda order, index: _cell(order, index)[0]),
        ("adql_healpix_dec", 2, lambda order, index: _cell(order, index)[1]),
    ):
        connection.create_function(name, arguments, _strict(function), deterministic=True)
    for name, arguments, value_function in VALUE_FUNCTIONS:
        connection.create_function(name, arguments, value_function, deterministic=True)
    register_aggregates(connection)


def _strict(function: Callable[..., _Value]) -> Callable[..., _Value]:
    def null_or(*arguments: object) -> _Value:
        if any(argument is None for argument in arguments):
            return None
        try:
            return function(*arguments)
        except (RegionError, ValueError, TypeError, AttributeError):
            return None

    return null_or


def _contains(inner: str, outer: str) -> int:
    return int(contains(parse_region(inner), parse_region(outer)))


def _intersects(a: str, b: str) -> int:
    return int(intersects(parse_region(a), parse_region(b)))


def _area(region: str) -> float:
    return area(parse_region(region))


def _point(ra: float, dec: float) -> str:
    return str(Point(float(ra), float(dec)))


def _circle(ra: float, dec: float, radius: float) -> str:
    # pgsphere knows no circle that is wider than half the sky.
    if radius > 90.0:
        raise RegionError(f"a circle of radius {radius}")
    return str(Circle(float(ra), float(dec), float(radius)))


def _distance(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    return angle(unit_vector(ra1, dec1), unit_vector(ra2, dec2))


def _bound(ra: float, dec: float, radius: float, side: int) -> float:
    """One side of the Cartesian box around a circle: x, y, z, the lower and the upper of each."""
    axis, upper = divmod(side, 2)
    chord = 2.0 * math.sin(math.radians(min(max(radius, 0.0), 180.0)) / 2.0) + 1e-6
    middle = unit_vector(ra, dec)[axis]
    return middle + chord if upper else middle - chord


def _polygon(*numbers: float) -> str:
    return str(Polygon(tuple(zip(numbers[::2], numbers[1::2], strict=True))))


def _centroid(text: str) -> tuple[float, float]:
    region = parse_region(text)
    if isinstance(region, Polygon):
        return region.centroid
    raise RegionError("only a polygon has a centroid that must be calculated")


def _cell(order: int, index: int) -> tuple[float | None, float | None]:
    return cell_center(order, index) or (None, None)
