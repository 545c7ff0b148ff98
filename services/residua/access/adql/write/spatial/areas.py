"""Areas that both databases are told alike."""

import math

from sqlglot import exp

from residua.access.adql.write.spatial.expressions import CircleExpression, Constant
from residua.access.adql.write.words import call, fixed, from_slots
from residua.sphere.relations import area

__all__ = ["area_of"]


def area_of(geometry: Constant | CircleExpression, dialect: str) -> exp.Expr:
    """Area, square degrees, of a region of literals or of a circle."""
    if isinstance(geometry, CircleExpression):
        return _circle_area(geometry.radius, dialect)
    again = geometry.again
    value = area(geometry.region)
    return from_slots(value, lambda v: area(again(v)), geometry.slots, dialect)


def _circle_area(radius: exp.Expr, dialect: str) -> exp.Expr:
    # 4 pi sin^2(r / 2) steradians.
    half = exp.Mul(this=exp.Paren(this=radius.copy()), expression=fixed(math.radians(0.5), dialect))
    scale = fixed(4.0 * math.pi * math.degrees(1.0) ** 2, dialect)
    sine = call("SIN", half)
    return exp.Paren(
        this=exp.Mul(this=exp.Mul(this=scale, expression=sine), expression=sine.copy())
    )
