"""Regions on the sky, as VO clients write them.

Edges of polygons are great circles. A polygon is any simple one, convex or not, that fits into a
hemisphere; its inside is the smaller side.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import override

from residua.sphere.vectors import (
    Vector,
    cross,
    dot,
    sky_position,
    unit_vector,
)

__all__ = [
    "Circle",
    "Point",
    "Polygon",
    "Range",
    "Region",
    "RegionError",
    "parse_region",
    "region_of",
]

type Region = Point | Circle | Polygon | Range


class RegionError(ValueError):
    """The numbers or the text describe no region on the sphere."""


@dataclass(frozen=True)
class Point:
    """A position, ICRS, degrees."""

    ra: float
    dec: float

    def __post_init__(self) -> None:
        _check_position(self.ra, self.dec)

    @override
    def __str__(self) -> str:
        return f"POINT ICRS {self.ra!r} {self.dec!r}"

    @cached_property
    def vector(self) -> Vector:
        """Its direction."""
        return unit_vector(self.ra, self.dec)


@dataclass(frozen=True)
class Circle:
    """All within a radius (degrees, 0 to 180) of a position."""

    ra: float
    dec: float
    radius: float

    def __post_init__(self) -> None:
        _check_position(self.ra, self.dec)
        if not 0.0 <= self.radius <= 180.0:
            raise RegionError(f"the radius {self.radius} is not between 0 and 180 degrees")

    @override
    def __str__(self) -> str:
        return f"CIRCLE ICRS {self.ra!r} {self.dec!r} {self.radius!r}"

    @cached_property
    def vector(self) -> Vector:
        """Direction of its centre."""
        return unit_vector(self.ra, self.dec)


@dataclass(frozen=True)
class Polygon:
    """A simple polygon with (right ascension, declination) corners, degrees."""

    corners: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        for ra, dec in self.corners:
            _check_position(ra, dec)
        if len(self.corners) > 1 and self.corners[0] == self.corners[-1]:
            object.__setattr__(self, "corners", self.corners[:-1])
        if len(set(self.corners)) < 3:
            raise RegionError("a polygon needs at least three different corners")
        if len(self.corners) > 256:
            raise RegionError(f"{len(self.corners)} corners; a polygon may have 256")
        if not math.isfinite(self.center[0]) or min(self._depths) < 1e-6:
            raise RegionError("the polygon does not fit into a hemisphere")

    @override
    def __str__(self) -> str:
        return "POLYGON ICRS " + " ".join(f"{ra!r} {dec!r}" for ra, dec in self.corners)

    @cached_property
    def vectors(self) -> tuple[Vector, ...]:
        """Directions of the corners."""
        return tuple(unit_vector(ra, dec) for ra, dec in self.corners)

    @cached_property
    def edges(self) -> tuple[tuple[Vector, Vector], ...]:
        """Pairs of neighbouring corners."""
        v = self.vectors
        return tuple(zip(v, v[1:] + v[:1], strict=True))

    @cached_property
    def center(self) -> Vector:
        """Direction of the mean of the corners."""
        x, y, z = (math.fsum(axis) for axis in zip(*self.vectors, strict=True))
        length = math.sqrt(x * x + y * y + z * z)
        return (x / length, y / length, z / length) if length > 1e-9 else (math.nan,) * 3

    @cached_property
    def centroid(self) -> tuple[float, float]:
        """Direction of the area's first moment: right ascension and declination, degrees."""
        # For great-circle edges the moment is the sum of the edges' angles times their normals.
        moment = [0.0, 0.0, 0.0]
        for a, b in self.edges:
            n = cross(a, b)
            length = math.sqrt(dot(n, n))
            if length > 0.0:
                theta = math.atan2(length, dot(a, b))
                for i in range(3):
                    moment[i] += theta * n[i] / length
        total = (moment[0], moment[1], moment[2])
        if math.sqrt(dot(total, total)) < 1e-15:
            return sky_position(self.center)
        sign = math.copysign(1.0, dot(total, self.center))
        return sky_position((sign * total[0], sign * total[1], sign * total[2]))

    @cached_property
    def _depths(self) -> tuple[float, ...]:
        return tuple(dot(v, self.center) for v in self.vectors)

    @cached_property
    def _axes(self) -> tuple[Vector, Vector]:
        c = self.center
        helper = (0.0, 0.0, 1.0) if abs(c[2]) < 0.9 else (1.0, 0.0, 0.0)
        u = cross(helper, c)
        length = math.sqrt(dot(u, u))
        u = (u[0] / length, u[1] / length, u[2] / length)
        return u, cross(c, u)

    @cached_property
    def projected(self) -> tuple[tuple[float, float], ...]:
        """Corners in the gnomonic projection on the centre, where great circles are straight."""
        return tuple(self._project(v) for v in self.vectors)

    def _project(self, v: Vector) -> tuple[float, float]:
        u, w = self._axes
        depth = dot(v, self.center)
        return dot(v, u) / depth, dot(v, w) / depth

    def holds(self, v: Vector) -> bool:
        """Whether a direction is inside: crossings counted in the gnomonic projection."""
        if dot(v, self.center) <= 0.0:
            return False
        x, y = self._project(v)
        inside = False
        x0, y0 = self.projected[-1]
        for x1, y1 in self.projected:
            if (y0 > y) != (y1 > y) and x < (x1 - x0) * (y - y0) / (y1 - y0) + x0:
                inside = not inside
            x0, y0 = x1, y1
        return inside


@dataclass(frozen=True)
class Range:
    """Between two right ascensions (eastward from the first) and two declinations, degrees."""

    ra_min: float
    ra_max: float
    dec_min: float
    dec_max: float

    def __post_init__(self) -> None:
        values = (self.ra_min, self.ra_max, self.dec_min, self.dec_max)
        if not all(map(math.isfinite, values)):
            raise RegionError("a range needs four finite numbers")
        if not (-90.0 <= self.dec_min <= self.dec_max <= 90.0):
            raise RegionError(f"{self.dec_min} to {self.dec_max} is no range of declination")
        if not all(-360.0 <= ra <= 720.0 for ra in (self.ra_min, self.ra_max)):
            raise RegionError(f"{self.ra_min} to {self.ra_max} is no range of right ascension")

    @override
    def __str__(self) -> str:
        return f"RANGE ICRS {self.ra_min!r} {self.ra_max!r} {self.dec_min!r} {self.dec_max!r}"

    @property
    def width(self) -> float:
        """Extent eastward from the first right ascension, degrees; 360 for all."""
        if self.ra_max - self.ra_min >= 360.0:
            return 360.0
        return (self.ra_max - self.ra_min) % 360.0

    def holds(self, ra: float, dec: float) -> bool:
        """Whether a position is inside."""
        return self.dec_min <= dec <= self.dec_max and self.holds_ra(ra)

    def holds_ra(self, ra: float) -> bool:
        """Whether a right ascension is inside."""
        return (ra - self.ra_min) % 360.0 <= self.width or self.width >= 360.0


_SPACES = re.compile(r"[\s,]+")
_FRAMES = frozenset({"ICRS", "J2000", "FK5", "UNKNOWNFRAME"})


@lru_cache(maxsize=65_536)
def parse_region(text: str) -> Region:
    """Read ``CIRCLE [ICRS] ra dec r``, ``POLYGON``, ``POINT``, ``POSITION`` or ``RANGE``.

    Raises
    ------
    RegionError
        It is none of these; the message names what is wrong.
    """
    words = [word for word in _SPACES.split(text.strip()) if word]
    if not words:
        raise RegionError("no region was given")
    shape, numbers = words[0].upper(), words[1:]
    if numbers and numbers[0].upper() in _FRAMES:
        numbers = numbers[1:]
    try:
        values = [float(word) for word in numbers]
    except ValueError as e:
        raise RegionError(f"{text[:80]!r} has words where numbers belong") from e
    return region_of(shape, values)


def region_of(shape: str, values: Sequence[float]) -> Region:
    """Build a region from its name and its numbers."""
    if shape in {"POINT", "POSITION"} and len(values) == 2:
        return Point(values[0], values[1])
    if shape == "CIRCLE" and len(values) == 3:
        return Circle(values[0], values[1], values[2])
    if shape == "POLYGON" and len(values) >= 6 and len(values) % 2 == 0:
        return Polygon(tuple(zip(values[::2], values[1::2], strict=True)))
    if shape == "RANGE" and len(values) == 4:
        ra_min, ra_max, dec_min, dec_max = values
        # SIA and SODA leave a side open with an infinity: that side alone.
        ra_min = 0.0 if ra_min == -math.inf else ra_min
        ra_max = 360.0 if ra_max == math.inf else ra_max
        return Range(ra_min, ra_max, max(dec_min, -90.0), min(dec_max, 90.0))
    raise RegionError(f"{shape[:20]} with {len(values)} numbers is no region known here")


def _check_position(ra: float, dec: float) -> None:
    if not (math.isfinite(ra) and -360.0 <= ra <= 720.0 and -90.0 <= dec <= 90.0):
        raise RegionError(f"({ra}, {dec}) is not a position in ICRS degrees")
