"""How regions lie to each other: contains, intersects, area, bounding box."""

import math

from residua.sphere.regions import (
    Circle,
    Point,
    Polygon,
    Range,
    Region,
    RegionError,
)
from residua.sphere.vectors import (
    Vector,
    angle,
    arc_distance,
    arcs_cross,
    cross,
    dot,
    sky_position,
    unit_vector,
)

__all__ = ["area", "bounding_cap", "contains", "intersects"]

_SQUARE_DEGREES = math.degrees(1.0) ** 2

# Degrees; nearer to a border counts as on it.
_BORDER = 1e-9


def contains(inner: Region, outer: Region) -> bool:
    """Whether ``inner`` lies in ``outer``; borders belong to regions."""
    match outer:
        case Circle():
            return _in_circle(inner, outer)
        case Polygon():
            return _in_polygon(inner, outer)
        case Range():
            return _in_range(inner, outer)
        case Point():
            return isinstance(inner, Point) and angle(inner.vector, outer.vector) == 0.0


def intersects(a: Region, b: Region) -> bool:  # noqa: PLR0911 one for each pair
    """Whether two regions share a point."""
    if isinstance(a, Point):
        return contains(a, b)
    if isinstance(b, Point):
        return contains(b, a)
    if isinstance(a, Range):
        return _meets_range(b, a)
    if isinstance(b, Range):
        return _meets_range(a, b)
    if isinstance(a, Circle):
        return _meets_circle(b, a)
    if isinstance(b, Circle):
        return _meets_circle(a, b)
    return _polygons_meet(a, b)


def area(region: Region) -> float:
    """Area, square degrees."""
    match region:
        case Point():
            return 0.0
        case Circle(radius=radius):
            return 4.0 * math.pi * math.sin(math.radians(radius) / 2.0) ** 2 * _SQUARE_DEGREES
        case Polygon():
            return abs(_solid_angle(region)) * _SQUARE_DEGREES
        case Range():
            height = math.sin(math.radians(region.dec_max)) - math.sin(math.radians(region.dec_min))
            return math.radians(region.width) * height * _SQUARE_DEGREES


def bounding_cap(region: Region) -> tuple[Vector, float]:
    """Direction and radius (degrees) of a circle around the region."""
    match region:
        case Point():
            return region.vector, 0.0
        case Circle():
            return region.vector, region.radius
        case Polygon():
            return region.center, max(angle(region.center, v) for v in region.vectors)
        case Range():
            return _range_cap(region)


def _in_circle(inner: Region, outer: Circle) -> bool:
    match inner:
        case Point():
            return angle(inner.vector, outer.vector) <= outer.radius
        case Circle():
            return angle(inner.vector, outer.vector) + inner.radius <= outer.radius
        case Polygon():
            if outer.radius < 90.0:
                return all(angle(v, outer.vector) <= outer.radius for v in inner.vectors)
            x, y, z = outer.vector
            opposite = (-x, -y, -z)
            return (
                not inner.holds(opposite)
                and _distance_to_border(opposite, inner) >= 180.0 - outer.radius
            )
        case Range():
            raise RegionError("a range cannot be asked whether it lies in a circle")


def _in_polygon(inner: Region, outer: Polygon) -> bool:
    match inner:
        case Point():
            return _holds(outer, inner.vector)
        case Circle():
            return (
                outer.holds(inner.vector)
                and _distance_to_border(inner.vector, outer) >= inner.radius
            )
        case Polygon():
            return all(_holds(outer, v) for v in inner.vectors) and not any(
                arcs_cross(p, q, r, s) for p, q in inner.edges for r, s in outer.edges
            )
        case Range():
            raise RegionError("a range cannot be asked whether it lies in a polygon")


def _in_range(inner: Region, outer: Range) -> bool:
    if isinstance(inner, Point):
        return outer.holds(inner.ra, inner.dec)
    raise RegionError("only a point can be asked whether it lies in a range")


def _meets_circle(region: Circle | Polygon, circle: Circle) -> bool:
    if isinstance(region, Circle):
        return angle(region.vector, circle.vector) <= region.radius + circle.radius
    return (
        region.holds(circle.vector) or _distance_to_border(circle.vector, region) <= circle.radius
    )


def _polygons_meet(a: Polygon, b: Polygon) -> bool:
    return (
        any(_holds(a, v) for v in b.vectors)
        or any(_holds(b, v) for v in a.vectors)
        or any(arcs_cross(p, q, r, s) for p, q in a.edges for r, s in b.edges)
    )


def _holds(polygon: Polygon, v: Vector) -> bool:
    return polygon.holds(v) or _distance_to_border(v, polygon) <= _BORDER


def _distance_to_border(v: Vector, polygon: Polygon) -> float:
    return min(arc_distance(v, a, b) for a, b in polygon.edges)


def _meets_range(region: Region, box: Range) -> bool:
    match region:
        case Point():
            return box.holds(region.ra, region.dec)
        case Circle():
            return box.holds(region.ra, region.dec) or _circle_meets_border(region, box)
        case Polygon():
            return (
                any(box.holds(ra, dec) for ra, dec in region.corners)
                or region.holds(unit_vector(box.ra_min, box.dec_min))
                or _edges_meet_border(region, box)
            )
        case Range():
            raise RegionError("two ranges cannot be compared")


def _meridians(box: Range) -> list[tuple[Vector, Vector]]:
    # In two halves each: arcs must be shorter than 180 degrees.
    middle = (box.dec_min + box.dec_max) / 2.0
    decs = ((box.dec_min, middle), (middle, box.dec_max))
    if box.width >= 360.0:
        return []
    return [
        (unit_vector(ra, low), unit_vector(ra, high))
        for ra in (box.ra_min, box.ra_max)
        for low, high in decs
    ]


def _circle_meets_border(circle: Circle, box: Range) -> bool:
    if any(arc_distance(circle.vector, a, b) <= circle.radius for a, b in _meridians(box)):
        return True
    # On a parallel the nearest point has the same right ascension, or is an end.
    return box.holds_ra(circle.ra) and any(
        abs(circle.dec - dec) <= circle.radius for dec in (box.dec_min, box.dec_max)
    )


def _edges_meet_border(polygon: Polygon, box: Range) -> bool:
    meridians = _meridians(box)
    heights = [math.sin(math.radians(dec)) for dec in (box.dec_min, box.dec_max)]
    return any(
        any(arcs_cross(a, b, c, d) for c, d in meridians)
        or any(box.holds_ra(sky_position(v)[0]) for z in heights for v in _arc_at_height(a, b, z))
        for a, b in polygon.edges
    )


def _arc_at_height(a: Vector, b: Vector, z: float) -> list[Vector]:
    """Points of the arc a-b with the third coordinate ``z``."""
    theta = math.radians(angle(a, b))
    n = cross(a, b)
    length = math.sqrt(dot(n, n))
    if length < 1e-15:
        return []
    # The arc is cos(t) a + sin(t) w, t from 0 to theta.
    w = cross((n[0] / length, n[1] / length, n[2] / length), a)
    amplitude = math.hypot(a[2], w[2])
    if amplitude <= abs(z):
        return []
    middle, half = math.atan2(w[2], a[2]), math.acos(z / amplitude)
    points = []
    for t in (middle - half, middle + half):
        turned = t % (2.0 * math.pi)
        if turned <= theta:
            c, s = math.cos(turned), math.sin(turned)
            points.append((c * a[0] + s * w[0], c * a[1] + s * w[1], c * a[2] + s * w[2]))
    return points


def _solid_angle(polygon: Polygon) -> float:
    # Sum of the signed triangles with the centre (van Oosterom & Strackee 1983), steradians.
    total = 0.0
    c = polygon.center
    for a, b in polygon.edges:
        volume = dot(c, cross(a, b))
        total += 2.0 * math.atan2(volume, 1.0 + dot(c, a) + dot(a, b) + dot(b, c))
    return total


def _range_cap(box: Range) -> tuple[Vector, float]:
    if box.width > 180.0:
        # Around the pole that is nearer.
        north = box.dec_min + box.dec_max >= 0.0
        return (0.0, 0.0, 1.0 if north else -1.0), (
            90.0 - box.dec_min if north else 90.0 + box.dec_max
        )
    center = unit_vector(box.ra_min + box.width / 2.0, (box.dec_min + box.dec_max) / 2.0)
    # Along a parallel, and along a meridian less than 90 degrees away, the ends are farthest.
    return center, max(
        angle(center, unit_vector(ra, dec))
        for ra in (box.ra_min, box.ra_max)
        for dec in (box.dec_min, box.dec_max)
    )
