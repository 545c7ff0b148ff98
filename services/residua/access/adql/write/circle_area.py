"""Area of a circle on the sphere, as SQL."""

import math

from sqlglot import exp

from residua.access.adql.write.words import call, fixed

__all__ = ["circle_area"]


def circle_area(radius: exp.Expr, dialect: str) -> exp.Expr:
    """Area of a circle, square degrees, from its radius, degrees."""
    # 4 pi sin^2(r / 2) steradians.
    half = exp.Mul(this=exp.Paren(this=radius.copy()), expression=fixed(math.radians(0.5), dialect))
    scale = fixed(4.0 * math.pi * math.degrees(1.0) ** 2, dialect)
    sine = call("SIN", half)
    return exp.Paren(
        this=exp.Mul(this=exp.Mul(this=scale, expression=sine), expression=sine.copy())
    )
