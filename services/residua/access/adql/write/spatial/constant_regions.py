"""Regions that are made of literals alone, and made again of those of another query."""

from collections.abc import Sequence

from residua.access.adql.errors import AdqlError
from residua.access.adql.meaning.constants import Number
from residua.access.adql.write.spatial.expressions import Constant
from residua.sphere.regions import Circle, Point, Polygon, Region, RegionError, region_of

__all__ = ["box_around", "circle_around", "constant", "middle_of", "polygon_of"]


def constant(shape: str, values: Sequence[Number]) -> Constant:
    """Region of numbers; again with those of another query."""
    try:
        region = region_of(shape, [value.value for value in values])
    except RegionError as e:
        raise AdqlError(f"{shape}: {e}") from e
    slots = frozenset().union(*(value.slots for value in values))
    return Constant(region, lambda v: region_of(shape, [n.again(v) for n in values]), slots)


def circle_around(center: Constant, radius: Number) -> Constant:
    """CIRCLE around a point of literals."""

    def circle(point: Region, degrees: float) -> Region:
        assert isinstance(point, Point)
        return Circle(point.ra, point.dec, degrees)

    try:
        region = circle(center.region, radius.value)
    except RegionError as e:
        raise AdqlError(f"CIRCLE: {e}") from e
    slots = center.slots | radius.slots
    return Constant(region, lambda v: circle(center.again(v), radius.again(v)), slots)


def polygon_of(points: Sequence[Constant]) -> Constant:
    """POLYGON of points of literals."""

    def polygon(corners: Sequence[Region]) -> Region:
        return Polygon(tuple((p.ra, p.dec) for p in corners if isinstance(p, Point)))

    try:
        region = polygon([p.region for p in points])
    except RegionError as e:
        raise AdqlError(f"POLYGON: {e}") from e
    slots = frozenset().union(*(p.slots for p in points))
    return Constant(region, lambda v: polygon([p.again(v) for p in points]), slots)


def box_around(center: Constant, width: Number, height: Number) -> Constant:
    """BOX around a point of literals."""

    def box(point: Region, width: float, height: float) -> Region:
        assert isinstance(point, Point)
        if not (0.0 < width < 180.0 and 0.0 < height < 180.0):
            raise RegionError(f"{width} x {height} is not a size between 0 and 180 degrees")
        # ADQL 2.1, 4.2.9: the polygon with these corners.
        w, h, ra, dec = width / 2.0, height / 2.0, point.ra, point.dec
        return Polygon(((ra - w, dec - h), (ra + w, dec - h), (ra + w, dec + h), (ra - w, dec + h)))

    try:
        region = box(center.region, width.value, height.value)
    except RegionError as e:
        raise AdqlError(f"BOX: {e}") from e
    slots = center.slots | width.slots | height.slots
    return Constant(region, lambda v: box(center.again(v), width.again(v), height.again(v)), slots)


def middle_of(region: Region) -> Region:
    """Centroid of a region."""
    match region:
        case Polygon():
            return Point(*region.centroid)
        case Circle(ra=ra, dec=dec) | Point(ra=ra, dec=dec):
            return Point(ra, dec)
        case _:
            raise RegionError("a range has no centroid here")
