"""Which pixels a region on the sky covers."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS

from residua.sphere.regions import (
    Circle,
    Point,
    Polygon,
    Range,
    Region,
)
from residua.sphere.relations import intersects
from residua.sphere.vectors import Vector, angle, cross
from residua.storage.regions.open_file import PixelBox

__all__ = ["pixel_box"]

type _Vectors = npt.NDArray[np.float64]
"""Unit vectors (n, 3), each next to the one before."""

# A border is followed in steps so small that the arc between two of them leaves their chord by a
# hundredth of a pixel at most, where a detector's are 0.2 arcsec.
_STEP = np.radians(0.0072)
_FEWEST = 32
_MOST = 8_192
# The longest step there is with so many, and more: both ends of all that cross the image are near.
_MARGIN = np.radians(0.5)


def pixel_box(region: Region, wcs: WCS, shape: tuple[int, int]) -> PixelBox | None:
    """Return the smallest box of whole pixels that holds the region's part of the image.

    Parameters
    ----------
    region
        Circle, polygon or range.
    wcs
        Celestial WCS of the image, ICRS.
    shape
        Rows and columns of the image.

    Returns
    -------
    box
        `None` if the region lies off the image.
    """
    ny, nx = shape
    corners = np.array(
        [[0, 0], [nx - 1, 0], [nx - 1, ny - 1], [0, ny - 1], [nx / 2, ny / 2]], np.float64
    )
    sky = np.asarray(wcs.all_pix2world(corners, 0))
    inside = [intersects(Point(float(ra % 360.0), float(dec)), region) for ra, dec in sky[:4]]
    found = [corners[:4][inside]]
    *around, center = _vectors(sky)
    reach = np.arccos(np.clip(np.min(around @ center), -1.0, 1.0)) + _MARGIN
    near = [part for line in _border(region) for part in _near(line, center, np.cos(reach))]
    if near:
        # Far off the image a distortion has no inverse: such points stay where they came to.
        pixels = np.asarray(wcs.all_world2pix(_positions(np.concatenate(near)), 0, quiet=True))
        ends = np.cumsum([len(part) for part in near[:-1]])
        found += [_clipped(part, (nx - 0.5, ny - 0.5)) for part in np.split(pixels, ends)]
    points = np.concatenate(found)
    if not len(points):
        return None
    x0, y0 = (int(v) for v in np.floor(points.min(axis=0) + 0.5))
    x1, y1 = (int(v) for v in np.ceil(points.max(axis=0) + 0.5))
    if x0 >= x1 or y0 >= y1:
        return None
    return slice(y0, y1), slice(x0, x1)


def _near(line: _Vectors, center: npt.NDArray[np.float64], cosine: float) -> Iterator[_Vectors]:
    """Yield the pieces of a line that lie within a circle."""
    near = line @ center > cosine
    if near.all():
        yield line
        return
    edges = np.flatnonzero(np.diff(near, prepend=False, append=False))
    for start, stop in edges.reshape(-1, 2):
        yield line[start:stop]


def _clipped(pixels: npt.NDArray[np.float64], high: tuple[float, float]) -> npt.NDArray[np.float64]:
    """Return points (n, 2) of a line that lie in the image, and those at which it leaves it.

    Parameters
    ----------
    pixels
        Columns and rows (n, 2) of the line.
    high
        Where columns and rows end; they begin at -0.5.
    """
    if ((pixels >= -0.5) & (pixels <= high)).all():
        return pixels
    begin, step = pixels[:-1], np.diff(pixels, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        sides = np.stack([(-0.5 - begin) / step, (high - begin) / step])
    # A line along a side never comes to it: it is within for all of its length, or for none.
    along = np.where((begin >= -0.5) & (begin <= high), 1.0, -1.0) * np.inf
    enters = np.where(step == 0.0, -along, sides.min(axis=0)).max(axis=1).clip(min=0.0)
    leaves = np.where(step == 0.0, along, sides.max(axis=0)).min(axis=1).clip(max=1.0)
    crosses = enters <= leaves
    begin, step = begin[crosses], step[crosses]
    ends = [begin + t[crosses, None] * step for t in (enters, leaves)]
    return np.concatenate(ends).clip(-0.5, high)


def _border(region: Region) -> Iterator[_Vectors]:
    """Yield lines along the border."""
    match region:
        case Circle():
            yield _circle_border(region)
        case Polygon():
            for a, b in region.edges:
                yield _arc(a, b)
        case Range():
            ra_max, decs = region.ra_min + region.width, (region.dec_min, region.dec_max)
            across = np.linspace(region.ra_min, ra_max, _points(np.radians(region.width)))
            along = np.linspace(*decs, _points(np.radians(decs[1] - decs[0])))
            for dec in decs:
                yield _vectors(np.column_stack([across, np.full_like(across, dec)]))
            for ra in (region.ra_min, ra_max):
                yield _vectors(np.column_stack([np.full_like(along, ra), along]))
        case Point():
            yield _vectors(np.array([[region.ra, region.dec]] * 2))


def _points(length: float) -> int:
    return int(np.clip(np.ceil(length / _STEP), _FEWEST, _MOST))


def _circle_border(circle: Circle) -> _Vectors:
    center = circle.vector
    helper = (0.0, 0.0, 1.0) if abs(center[2]) < 0.9 else (1.0, 0.0, 0.0)
    east = np.array(cross(helper, center))
    east /= np.sqrt(east @ east)
    north = np.array(cross(center, (float(east[0]), float(east[1]), float(east[2]))))
    r = np.radians(circle.radius)
    # The chord's distance grows with the radius: that of 0.02 degrees has a thousand points.
    number = int(np.clip(1_024 * np.sqrt(circle.radius / 0.02), 4 * _FEWEST, _MOST))
    t = np.linspace(0.0, 2.0 * np.pi, number)[:, None]
    return np.asarray(
        np.cos(r) * np.array(center) + np.sin(r) * (np.cos(t) * east + np.sin(t) * north)
    )


def _arc(a: Vector, b: Vector) -> _Vectors:
    t = np.linspace(0.0, 1.0, _points(np.radians(angle(a, b))))[:, None]
    v = (1.0 - t) * np.array(a) + t * np.array(b)
    return np.asarray(v / np.sqrt((v * v).sum(axis=1, keepdims=True)))


def _positions(v: _Vectors) -> npt.NDArray[np.float64]:
    ra = np.degrees(np.arctan2(v[:, 1], v[:, 0])) % 360.0
    return np.column_stack([ra, np.degrees(np.arctan2(v[:, 2], np.hypot(v[:, 0], v[:, 1])))])


def _vectors(sky: npt.NDArray[np.float64]) -> _Vectors:
    a, d = np.radians(sky).T
    return np.column_stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
