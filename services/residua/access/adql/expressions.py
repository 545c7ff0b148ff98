"""Geometries within a query, and what a database must be able to say about them."""

import math
from dataclasses import dataclass
from typing import Protocol

from sqlglot import exp

from residua.access.adql.errors import AdqlError
from residua.sphere.regions import Circle, Point, Region

__all__ = [
    "Backend",
    "CircleExpression",
    "Geometry",
    "PointExpression",
    "RegionColumn",
    "as_point",
    "call",
    "circle_area",
    "number",
    "own_column",
]


@dataclass(frozen=True)
class PointExpression:
    """POINT of two expressions, degrees; ``indexed_table`` when they are an indexed position."""

    ra: exp.Expr
    dec: exp.Expr
    indexed_table: str | None = None


@dataclass(frozen=True)
class CircleExpression:
    """CIRCLE of expressions, degrees."""

    center: PointExpression
    radius: exp.Expr


@dataclass(frozen=True)
class RegionColumn:
    """A column with footprints; ``indexed_table`` when it is the table's own."""

    column: exp.Expr
    indexed_table: str | None = None


type Geometry = Region | PointExpression | CircleExpression | RegionColumn


class Backend(Protocol):
    """How one database writes the spatial predicates."""

    dialect: str

    def contains(self, inner: Geometry, outer: Geometry) -> exp.Expr:
        """Predicate: inner lies in outer."""
        ...

    def intersects(self, a: Geometry, b: Geometry) -> exp.Expr:
        """Predicate: both share a point."""
        ...

    def distance(self, a: Geometry, b: Geometry) -> exp.Expr:
        """Distance of two points, degrees."""
        ...

    def area(self, geometry: Geometry) -> exp.Expr:
        """Area, square degrees."""
        ...

    def near(self, point: PointExpression, circle: Circle) -> exp.Expr | None:
        """Condition, answered by an index, that holds wherever the point lies in the circle."""
        ...


def call(name: str, *arguments: exp.Expr) -> exp.Expr:
    """Call of a function of the database."""
    return exp.Anonymous(this=name, expressions=[a.copy() for a in arguments])


def number(value: float) -> exp.Expr:
    """Literal of a number."""
    # In parentheses: a minus sign must never meet another one and become a comment.
    return exp.Paren(this=exp.Literal.number(repr(float(value))))


def own_column(table: str, name: str) -> exp.Expr:
    """Column of a table that the query knows by this name."""
    return exp.column(name, table=table, quoted=True)


def circle_area(radius: exp.Expr) -> exp.Expr:
    """Area of a circle, square degrees, from its radius, degrees."""
    # 4 pi sin^2(r / 2) steradians.
    half = exp.Div(this=call("RADIANS", radius), expression=number(2.0), typed=True)
    scale = number(4.0 * math.pi * math.degrees(1.0) ** 2)
    return exp.Mul(this=scale, expression=call("POWER", call("SIN", half), number(2.0)))


def as_point(geometry: Geometry) -> PointExpression:
    """Point as two expressions; raises `AdqlError` for what is none."""
    match geometry:
        case Point(ra=ra, dec=dec):
            return PointExpression(number(ra), number(dec))
        case PointExpression():
            return geometry
        case _:
            raise AdqlError("DISTANCE takes two points")
