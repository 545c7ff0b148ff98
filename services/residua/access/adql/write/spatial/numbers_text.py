"""A geometry as a column of a result: the numbers it is made of."""

from sqlglot import exp

from residua.access.adql.errors import AdqlError
from residua.access.adql.write.spatial.expressions import (
    CircleExpression,
    Constant,
    Geometry,
    PointExpression,
    PolygonExpression,
)
from residua.access.adql.write.words import call, cast_to, fixed, is_postgres

__all__ = ["numbers_text"]


def numbers_text(region: Geometry, dialect: str) -> exp.Expr:
    """Write a geometry's numbers as a text, separated by blanks."""
    match region:
        case Constant():
            return fixed(" ".join(str(region.region).split()[2:]), dialect)
        case PointExpression():
            parts = [region.ra, region.dec]
        case CircleExpression():
            parts = [region.center.ra, region.center.dec, region.radius]
        case PolygonExpression():
            parts = [x for corner in region.corners for x in (corner.ra, corner.dec)]
        case _:
            raise AdqlError("a region column stands without a function")
    text: exp.Expr | None = None
    for part in parts:
        word = cast_to(part.copy(), "text") if is_postgres(dialect) else call("adql_text", part)
        if text is None:
            text = word
        else:
            blank = exp.DPipe(this=text, expression=exp.Literal.string(" "), safe=True)
            text = exp.DPipe(this=blank, expression=word, safe=True)
    assert text is not None
    return exp.Paren(this=text)
