"""Functions SQLite lacks: the spatial predicates, and what ADQL has beyond it."""

import math
import random
import sqlite3
from collections.abc import Callable

from residua.sphere.regions import (
    Circle,
    Point,
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
        ("adql_truncate", -1, _truncate),
    ):
        connection.create_function(name, arguments, _strict(function), deterministic=True)
    connection.create_function("adql_random", 0, random.random)


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
    return str(Circle(float(ra), float(dec), float(radius)))


def _distance(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    return angle(unit_vector(ra1, dec1), unit_vector(ra2, dec2))


def _truncate(value: float, digits: int = 0) -> float:
    scale = 10.0 ** int(digits)
    return math.trunc(float(value) * scale) / scale
