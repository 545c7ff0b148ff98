"""Which pixels a region on the sky covers."""

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
from residua.sphere.vectors import unit_vector
from residua.storage.regions.open_file import PixelBox

__all__ = ["pixel_box"]

_SAMPLES = 256
# Farther from the image a projection means nothing.
_REACH = 60.0


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
    corners = np.array([[0, 0], [nx - 1, 0], [nx - 1, ny - 1], [0, ny - 1]], np.float64)
    sky = np.column_stack(wcs.all_pix2world(corners[:, 0], corners[:, 1], 0))
    inside = [intersects(Point(float(ra % 360.0), float(dec)), region) for ra, dec in sky]
    points = [corners[inside]]
    border = _border(region)
    center = wcs.all_pix2world([(nx - 1) / 2.0], [(ny - 1) / 2.0], 0)
    direction = np.array(unit_vector(float(center[0][0]), float(center[1][0])))
    vectors = _vectors(border)
    near = border[vectors @ direction > np.cos(np.radians(_REACH))]
    if len(near):
        # Far off the image a distortion has no inverse: such points stay where they came to.
        pixels = np.column_stack(wcs.all_world2pix(near[:, 0], near[:, 1], 0, quiet=True))
        points.append(pixels[np.isfinite(pixels).all(axis=1)])
    found = np.concatenate(points)
    if not len(found):
        return None
    low = np.floor(found.min(axis=0) + 0.5)
    high = np.ceil(found.max(axis=0) + 0.5)
    x0, y0 = (max(0, int(v)) for v in np.clip(low, -1e9, 1e9))
    x1, y1 = (min(n, int(v)) for v, n in zip(np.clip(high, -1e9, 1e9), (nx, ny), strict=True))
    if x0 >= x1 or y0 >= y1:
        return None
    return slice(y0, y1), slice(x0, x1)


def _border(region: Region) -> npt.NDArray[np.float64]:
    """Points along the border: (right ascension, declination), degrees."""
    match region:
        case Circle():
            return _circle_border(region)
        case Polygon():
            return _positions(
                np.concatenate([_arc(np.array(a), np.array(b)) for a, b in region.edges])
            )
        case Range():
            ra = np.linspace(region.ra_min, region.ra_min + region.width, 4 * _SAMPLES)
            dec = np.linspace(region.dec_min, region.dec_max, _SAMPLES)
            sides = [np.column_stack([ra, np.full_like(ra, d)]) for d in (dec[0], dec[-1])]
            sides += [np.column_stack([np.full_like(dec, a), dec]) for a in (ra[0], ra[-1])]
            return np.concatenate(sides)
        case Point():
            return np.array([[region.ra, region.dec]])


def _circle_border(circle: Circle) -> npt.NDArray[np.float64]:
    center = np.array(circle.vector)
    helper = np.array([0.0, 0.0, 1.0] if abs(center[2]) < 0.9 else [1.0, 0.0, 0.0])
    east = np.cross(helper, center)
    east /= np.linalg.norm(east)
    north = np.cross(center, east)
    t = np.linspace(0.0, 2.0 * np.pi, 4 * _SAMPLES, endpoint=False)[:, None]
    r = np.radians(circle.radius)
    return _positions(np.cos(r) * center + np.sin(r) * (np.cos(t) * east + np.sin(t) * north))


def _arc(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    t = np.linspace(0.0, 1.0, _SAMPLES)[:, None]
    v = (1.0 - t) * a + t * b
    return np.asarray(v / np.linalg.norm(v, axis=1, keepdims=True))


def _positions(v: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    ra = np.degrees(np.arctan2(v[:, 1], v[:, 0])) % 360.0
    return np.column_stack([ra, np.degrees(np.arctan2(v[:, 2], np.hypot(v[:, 0], v[:, 1])))])


def _vectors(sky: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    a, d = np.radians(sky).T
    return np.column_stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
