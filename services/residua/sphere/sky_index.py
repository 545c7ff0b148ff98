"""Which of many footprints may overlap another: a grid of circles, at a cost that does not grow."""

import math
from array import array
from collections.abc import Iterator

from residua_schemas import SkyPolygon

__all__ = ["SkyIndex"]

_SMALLEST = 0.01
"""Radius of the smallest class of footprints, degrees."""
_LEVELS = 14
"""Classes, each of twice the radius of the one before; the last holds all larger ones."""


class SkyIndex:
    """Bounding circles of footprints, by key.

    A footprint lies in one cell, that of its centre, of the grid of its size: cells are twice as
    large as the circles in them. A search looks at the few cells in reach, of each size there is,
    so that its cost follows from what it finds and not from the survey.

    About 200 bytes a footprint, keys not counted.
    """

    def __init__(self) -> None:
        self._slots: dict[bytes, int] = {}
        self._keys: list[bytes | None] = []
        self._circles = array("d")
        self._free: list[int] = []
        self._cells: dict[int, array[int]] = {}
        self._counts = [0] * _LEVELS
        self._largest = 0.0

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, key: bytes, region: SkyPolygon) -> None:
        """Put a footprint in, in place of an earlier one of the same key."""
        self.remove(key)
        ra, dec, radius = _circle(region)
        if self._free:
            slot = self._free.pop()
            self._keys[slot] = key
        else:
            slot = len(self._keys)
            self._keys.append(key)
            self._circles.extend((0.0, 0.0, 0.0))
        self._circles[3 * slot : 3 * slot + 3] = array("d", (ra, dec, radius))
        self._slots[key] = slot
        level = _level(radius)
        self._cells.setdefault(_cell(level, ra, dec), array("q")).append(slot)
        self._counts[level] += 1
        self._largest = max(self._largest, radius)

    def remove(self, key: bytes) -> bool:
        """Take a footprint out; returns whether it was there."""
        slot = self._slots.pop(key, None)
        if slot is None:
            return False
        ra, dec, radius = self._circles[3 * slot : 3 * slot + 3]
        level = _level(radius)
        place = _cell(level, ra, dec)
        cell = self._cells[place]
        cell.remove(slot)
        if not cell:
            del self._cells[place]
        self._counts[level] -= 1
        self._keys[slot] = None
        self._free.append(slot)
        return True

    def near(self, region: SkyPolygon) -> list[bytes]:
        """Return the keys whose circles touch the circle around a region, in no order."""
        ra, dec, radius = _circle(region)
        x, y, z = _vector(ra, dec)
        found: list[bytes] = []
        for level, count in enumerate(self._counts):
            if not count:
                continue
            # The small number is for rounding at the borders of cells.
            reach = 1e-9 + radius + (_radius(level) if level < _LEVELS - 1 else self._largest)
            for place in _cells_in_reach(level, ra, dec, reach):
                for slot in self._cells.get(place, ()):
                    other_ra, other_dec, other = self._circles[3 * slot : 3 * slot + 3]
                    u, v, w = _vector(other_ra, other_dec)
                    distance = math.sqrt((x - u) ** 2 + (y - v) ** 2 + (z - w) ** 2)
                    if distance <= _chord(radius + other) + 1e-12:
                        key = self._keys[slot]
                        assert key is not None
                        found.append(key)
        return found


def _circle(region: SkyPolygon) -> tuple[float, float, float]:
    """Centre and radius of the bounding circle, degrees, as the region's own properties."""
    vectors = [_vector(ra, dec) for ra, dec in region.vertices]
    x, y, z = map(sum, zip(*vectors, strict=True))
    norm = math.sqrt(x * x + y * y + z * z)
    if norm < 1e-9:
        # All around the sphere: near everything.
        return 0.0, 0.0, 180.0
    center = (x / norm, y / norm, z / norm)
    chord = max(math.dist(center, v) for v in vectors)
    dec = math.degrees(math.asin(max(-1.0, min(1.0, center[2]))))
    ra = math.degrees(math.atan2(y, x)) % 360.0
    return ra, dec, math.degrees(2.0 * math.asin(min(1.0, chord / 2.0)))


def _level(radius: float) -> int:
    return min(_LEVELS - 1, max(0, math.ceil(math.log2(max(radius, 1e-9) / _SMALLEST))))


def _radius(level: int) -> float:
    return _SMALLEST * 2.0**level


def _size(level: int) -> float:
    return float(min(90.0, 2.0 * _radius(level)))


def _cell(level: int, ra: float, dec: float) -> int:
    size = _size(level)
    zone = _zone(dec, size)
    number = _cells_of_zone(zone, size)
    return _place(level, zone, int(ra / 360.0 * number) % number)


def _place(level: int, zone: int, column: int) -> int:
    return (level << 48) | (zone << 24) | column


def _zone(dec: float, size: float) -> int:
    return int((min(90.0, max(-90.0, dec)) + 90.0) / size)


def _cells_of_zone(zone: int, size: float) -> int:
    # Of the circle of declination nearest to the equator, so that no cell is smaller than `size`.
    south = zone * size - 90.0
    nearest = max(0.0, min(abs(south), abs(south + size)) if south * (south + size) > 0 else 0.0)
    return max(1, int(360.0 * math.cos(math.radians(min(nearest, 90.0))) / size))


def _cells_in_reach(level: int, ra: float, dec: float, reach: float) -> Iterator[int]:
    size = _size(level)
    for zone in range(_zone(dec - reach, size), _zone(dec + reach, size) + 1):
        number = _cells_of_zone(zone, size)
        width = _half_width(dec, reach)
        if width >= 180.0 - 360.0 / number:
            columns = range(number)
        else:
            first = math.floor((ra - width) / 360.0 * number)
            last = math.floor((ra + width) / 360.0 * number)
            columns = range(first, min(last, first + number - 1) + 1)
        for column in columns:
            yield _place(level, zone, column % number)


def _half_width(dec: float, reach: float) -> float:
    """Half the extent in right ascension of a circle, degrees; 180 over a pole."""
    if abs(dec) + reach >= 90.0:
        return 180.0
    sine = math.sin(math.radians(reach)) / math.cos(math.radians(dec))
    return math.degrees(math.asin(min(1.0, sine)))


def _vector(ra: float, dec: float) -> tuple[float, float, float]:
    a, d = math.radians(ra), math.radians(dec)
    return math.cos(d) * math.cos(a), math.cos(d) * math.sin(a), math.sin(d)


def _chord(angle: float) -> float:
    return 2.0 * math.sin(math.radians(min(angle, 180.0)) / 2.0)
