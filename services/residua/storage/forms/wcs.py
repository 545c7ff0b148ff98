"""Celestial WCS: from headers and archives, to archives and headers; footprints and scales."""

import copy
from typing import Any, override

import numpy as np
import numpy.typing as npt
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from astropy.wcs.utils import fit_wcs_from_points
from astropy.wcs.wcsapi import BaseLowLevelWCS

from residua_schemas import SkyPolygon

__all__ = [
    "ProjectionWcs",
    "center",
    "footprint",
    "header_wcs",
    "pixel_scale",
    "rotation_angle",
    "rounded",
    "sky_projection",
    "wcs_from_projection",
]

_MAX_FITS_ERROR = 1e-3 / 3600.0
"""Degrees by which a FITS form may differ from the projection it stands for (1 mas)."""


class ProjectionWcs(BaseLowLevelWCS):
    """An ``lsst.images`` sky projection as a WCS in degrees, for array coordinates.

    Parameters
    ----------
    projection
        Pixel-to-sky projection of an archive.
    bbox
        Where the array stands in the projection's pixel grid.
    """

    def __init__(self, projection: Any, bbox: Any) -> None:
        self.projection = projection
        self.bbox = bbox
        self._view = projection.as_astropy(bbox)

    @override
    def pixel_to_world_values(self, *pixel_arrays: Any) -> Any:
        x, y = np.broadcast_arrays(*(np.asarray(p, np.float64) for p in pixel_arrays))
        sky = self._view.pixel_to_world_values(x.ravel(), y.ravel())
        ra = np.degrees(np.asarray(sky[0])).reshape(x.shape) % 360.0
        return ra, np.degrees(np.asarray(sky[1])).reshape(x.shape)

    @override
    def world_to_pixel_values(self, *world_arrays: Any) -> Any:
        ra, dec = np.broadcast_arrays(*(np.asarray(w, np.float64) for w in world_arrays))
        radians = np.radians(ra.ravel()), np.radians(dec.ravel())
        pixel = self._view.world_to_pixel_values(*radians)
        return np.asarray(pixel[0]).reshape(ra.shape), np.asarray(pixel[1]).reshape(ra.shape)

    @property
    @override
    def pixel_n_dim(self) -> int:
        return 2

    @property
    @override
    def world_n_dim(self) -> int:
        return 2

    @property
    @override
    def world_axis_physical_types(self) -> list[str]:
        return ["pos.eq.ra", "pos.eq.dec"]

    @property
    @override
    def world_axis_units(self) -> list[str]:
        return ["deg", "deg"]

    @property
    @override
    def world_axis_object_components(self) -> list[tuple[str, int, str]]:
        return [
            ("celestial", 0, "spherical.lon.degree"),
            ("celestial", 1, "spherical.lat.degree"),
        ]

    @property
    @override
    def world_axis_object_classes(self) -> dict[str, tuple[Any, ...]]:
        return {"celestial": (SkyCoord, (), {"frame": "icrs", "unit": "deg"})}


def wcs_from_projection(projection: Any, bbox: Any) -> BaseLowLevelWCS:
    """Return a WCS in degrees for the array at ``bbox`` of an archive's projection.

    An exact FITS form is preferred (it is faster); otherwise the projection itself is used.
    """
    fits = projection.as_fits_wcs(bbox)
    exact = ProjectionWcs(projection, bbox)
    # AST writes TPV as a bare TAN without saying so: never trust the form without a look.
    return fits if fits is not None and _agree(fits, exact, bbox.shape) else exact


def _agree(a: BaseLowLevelWCS, b: BaseLowLevelWCS, shape: tuple[int, int]) -> bool:
    x, y = _grid(shape, 5)
    (ra, dec), (ra_b, dec_b) = a.pixel_to_world_values(x, y), b.pixel_to_world_values(x, y)
    d_ra = (np.asarray(ra) - ra_b + 180.0) % 360.0 - 180.0
    distance = np.hypot(d_ra * np.cos(np.radians(dec_b)), np.asarray(dec) - dec_b)
    return bool(np.all(distance < _MAX_FITS_ERROR))


def _grid(shape: tuple[int, int], n: int) -> tuple[npt.NDArray[np.float64], ...]:
    y, x = np.meshgrid(*(np.linspace(0.0, size - 1.0, n) for size in shape), indexing="ij")
    return x, y


def sky_projection(wcs: BaseLowLevelWCS, frame: Any, shape: tuple[int, int]) -> Any:
    """Return the ``lsst.images`` projection of a WCS, on a pixel frame starting at (0, 0)."""
    if isinstance(wcs, ProjectionWcs) and tuple(wcs.bbox.start) == (0, 0):
        known = wcs.projection.pixel_frame
        same = ("instrument", "visit", "detector")
        if all(getattr(known, n, None) == getattr(frame, n) for n in same):
            return wcs.projection
    from lsst.images import Box, SkyProjection

    bbox = Box.factory[0 : shape[0], 0 : shape[1]]
    return SkyProjection.from_fits_wcs(header_wcs(wcs, shape), frame, pixel_bounds=bbox)


def header_wcs(wcs: BaseLowLevelWCS, shape: tuple[int, int]) -> WCS:
    """Return a FITS WCS for headers: the WCS itself, or a TAN-SIP fit to it.

    Parameters
    ----------
    wcs
        Celestial WCS, degrees.
    shape
        (ny, nx) of the array, pixels.
    """
    if isinstance(wcs, WCS) and not _has_tables(wcs):
        fits = copy.deepcopy(wcs)
        fits.wcs.dateobs, fits.wcs.mjdobs = "", np.nan
        return fits
    x, y = _grid(shape, 20)
    ra, dec = wcs.pixel_to_world_values(x.ravel(), y.ravel())
    center = wcs.pixel_to_world_values((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    return fit_wcs_from_points(
        (x.ravel(), y.ravel()),
        SkyCoord(ra, dec, unit="deg"),
        proj_point=SkyCoord(*center, unit="deg"),
        projection="TAN",
        sip_degree=4,
    )


def _has_tables(wcs: WCS) -> bool:
    # Distortions looked up in tables of the file have no place in a header.
    tables = (wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2)
    return any(t is not None for t in tables)


def footprint(wcs: BaseLowLevelWCS, shape: tuple[int, int]) -> SkyPolygon:
    """Return the corners of the pixel grid (outer edges of its pixels), ICRS."""
    ny, nx = shape
    x = np.array([-0.5, nx - 0.5, nx - 0.5, -0.5])
    y = np.array([-0.5, -0.5, ny - 0.5, ny - 0.5])
    ra, dec = wcs.pixel_to_world_values(x, y)
    return SkyPolygon(
        vertices=tuple((float(a), float(d)) for a, d in zip(ra, dec, strict=True)),
    )


def _steps(
    wcs: BaseLowLevelWCS, shape: tuple[int, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    # Sky offsets (east, north) in degrees of one pixel in x and in y, at the centre. Vectors,
    # because right ascensions say nothing at the poles.
    cx, cy = (shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0
    x, y = np.array([cx, cx + 1.0, cx]), np.array([cy, cy, cy + 1.0])
    ra, dec = (np.radians(np.asarray(v, np.float64)) for v in wcs.pixel_to_world_values(x, y))
    vectors = np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    east = np.array([-np.sin(ra[0]), np.cos(ra[0]), 0.0])
    north = np.cross(vectors[:, 0], east)
    offsets = np.degrees(vectors[:, 1:] - vectors[:, :1])
    steps = np.array([east @ offsets, north @ offsets])
    return steps[:, 0], steps[:, 1]


def rounded(value: float) -> float:
    """Return a number with nine digits.

    Exponentials, logarithms and sums have other last bits on another CPU; a file that says them
    must not.
    """
    return float(f"{value:.9g}")


def pixel_scale(wcs: BaseLowLevelWCS, shape: tuple[int, int]) -> float:
    """Return the pixel scale at the centre, arcsec: the root of a pixel's area."""
    x, y = _steps(wcs, shape)
    return rounded(3600.0 * np.sqrt(abs(x[0] * y[1] - x[1] * y[0])))


def rotation_angle(wcs: BaseLowLevelWCS, shape: tuple[int, int]) -> float:
    """Return the position angle of the y axis at the centre, degrees east of north."""
    _, y = _steps(wcs, shape)
    return rounded(np.degrees(np.arctan2(y[0], y[1])) % 360.0)


def center(wcs: BaseLowLevelWCS, shape: tuple[int, int]) -> tuple[float, float]:
    """Return (right ascension, declination) of the array's centre, degrees."""
    ra, dec = wcs.pixel_to_world_values((shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0)
    # To 36 microarcseconds, see `rounded`.
    return round(float(ra) % 360.0, 8), round(float(dec), 8)
