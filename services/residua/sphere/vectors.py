"""Unit vectors and great-circle arcs: the few formulas that spherical regions need."""

import math

__all__ = [
    "Vector",
    "angle",
    "arc_distance",
    "arcs_cross",
    "cross",
    "dot",
    "sky_position",
    "unit_vector",
]

type Vector = tuple[float, float, float]


def unit_vector(ra: float, dec: float) -> Vector:
    """Direction of a position, degrees."""
    a, d = math.radians(ra), math.radians(dec)
    c = math.cos(d)
    return c * math.cos(a), c * math.sin(a), math.sin(d)


def sky_position(v: Vector) -> tuple[float, float]:
    """Right ascension in [0, 360) and declination of a direction, degrees."""
    x, y, z = v
    return math.degrees(math.atan2(y, x)) % 360.0, math.degrees(math.atan2(z, math.hypot(x, y)))


def dot(a: Vector, b: Vector) -> float:
    """Scalar product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Vector, b: Vector) -> Vector:
    """Vector product."""
    return (
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    )


def angle(a: Vector, b: Vector) -> float:
    """Angle between two unit vectors, degrees; exact for small and for large angles."""
    half = min(1.0, math.dist(a, b) / 2.0)
    if half < 0.9:
        return math.degrees(2.0 * math.asin(half))
    c = cross(a, b)
    return math.degrees(math.atan2(math.sqrt(dot(c, c)), dot(a, b)))


def arc_distance(p: Vector, a: Vector, b: Vector) -> float:
    """Distance of a direction from the shorter great-circle arc a-b, degrees."""
    n = cross(a, b)
    length = math.sqrt(dot(n, n))
    if length > 1e-15:
        # The foot of the perpendicular lies on the arc if it is left of a and right of b.
        foot = cross(n, cross(p, n))
        if dot(cross(a, foot), n) >= 0.0 and dot(cross(foot, b), n) >= 0.0 and dot(foot, foot) > 0:
            return abs(math.degrees(math.asin(max(-1.0, min(1.0, dot(p, n) / length)))))
    return min(angle(p, a), angle(p, b))


def arcs_cross(a: Vector, b: Vector, c: Vector, d: Vector) -> bool:
    """Whether the arcs a-b and c-d (each shorter than 180 deg) share an inner point."""
    ab = cross(a, b)
    acb, bda = -dot(ab, c), dot(ab, d)
    if acb * bda <= 0.0:
        return False
    cd = cross(c, d)
    cbd, dac = -dot(cd, b), dot(cd, a)
    return acb * cbd > 0.0 and acb * dac > 0.0
