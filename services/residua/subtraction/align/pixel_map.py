"""Map from pixels of the science image to pixels of a template, on a coarse grid.

The exact chain (science pixel -> sky -> template pixel) goes through both WCSs' APE 14
low-level interface at the nodes of a grid and is interpolated bilinearly between them. The
grid is refined until the interpolation is right to 1e-3 px at every cell's centre.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from astropy.wcs.wcsapi import BaseLowLevelWCS

__all__ = ["PixelMap", "inverted", "jacobians_at", "make_pixel_map", "solved"]

_STEPS = (64, 32, 16, 8)
_ROUND_TRIP_TOLERANCE = 1e-3
_NEWTON_STEPS = 6

type Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PixelMap:
    """Template pixel coordinates at the nodes of a grid of science pixels.

    Parameters
    ----------
    x, y
        float64 (n_y, n_x): template pixel coordinates (0-based) of the nodes; NaN where a
        science pixel has no counterpart on the template's projection.
    step
        Distance of the nodes, science pixels; node (i, j) is at ``y = i step, x = j step``.
    error
        Largest interpolation error found at the cells' centres, template pixels.
    """

    x: Array
    y: Array
    step: int
    error: float

    def rounded(self, bits: int) -> "PixelMap":
        """With coordinates that are multiples of ``2^-bits``: the form in which it is kept."""
        # Adding zero leaves no negative zeros, which integers do not have.
        x, y = (np.rint(grid * 2.0**bits) / 2.0**bits + 0.0 for grid in (self.x, self.y))
        return PixelMap(x, y, self.step, self.error)

    def positions(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Array, Array]:
        """Template pixel coordinates (x, y) of science pixel coordinates."""
        u, v = np.asarray(x, np.float64) / self.step, np.asarray(y, np.float64) / self.step
        j = np.clip(np.floor(u).astype(np.int64), 0, self.x.shape[1] - 2)
        i = np.clip(np.floor(v).astype(np.int64), 0, self.x.shape[0] - 2)
        fx, fy = u - j, v - i
        mapped_x, mapped_y = (
            (grid[i, j] * (1 - fx) + grid[i, j + 1] * fx) * (1 - fy)
            + (grid[i + 1, j] * (1 - fx) + grid[i + 1, j + 1] * fx) * fy
            for grid in (self.x, self.y)
        )
        return mapped_x, mapped_y

    def jacobian(self, x: float, y: float) -> Array:
        """Float64 (2, 2): ``d(template x, y) / d(science x, y)`` at a science pixel."""
        h = 0.5 * self.step
        px, py = self.positions([x + h, x - h, x, x], [y, y, y + h, y - h])
        return np.array([[px[0] - px[1], px[2] - px[3]], [py[0] - py[1], py[2] - py[3]]]) / (2 * h)

    def areas(self) -> Array:
        """Float64 (n_y, n_x): area of a science pixel in template pixels at the nodes."""
        dx_dy, dx_dx = np.gradient(self.x, self.step)
        dy_dy, dy_dx = np.gradient(self.y, self.step)
        return np.abs(dx_dx * dy_dy - dx_dy * dy_dx)


def make_pixel_map(
    science_wcs: BaseLowLevelWCS,
    template_wcs: BaseLowLevelWCS,
    shape: tuple[int, int],
    *,
    tolerance: float = 1e-3,
) -> PixelMap:
    """Map the pixels of a science image onto a template.

    Parameters
    ----------
    science_wcs, template_wcs
        Celestial WCSs in the same frame (ICRS), APE 14 low-level interface. Any projection
        and distortion: only ``pixel_to_world_values`` and ``world_to_pixel_values`` are used.
    shape
        (ny, nx) of the science image.
    tolerance
        Largest interpolation error, template pixels. When even the finest grid (8 px) misses
        it, that grid is used and `PixelMap.error` tells.
    """
    for step in _STEPS:
        n_y, n_x = (-(-n // step) + 1 for n in shape)
        y, x = np.mgrid[0:n_y, 0:n_x] * float(step)
        grid_x, grid_y = _exact(science_wcs, template_wcs, x, y)
        pixel_map = PixelMap(grid_x, grid_y, step, np.inf)
        centre_x, centre_y = x[:-1, :-1] + 0.5 * step, y[:-1, :-1] + 0.5 * step
        true_x, true_y = _exact(science_wcs, template_wcs, centre_x, centre_y)
        near_x, near_y = pixel_map.positions(centre_x, centre_y)
        errors = np.hypot(near_x - true_x, near_y - true_y)
        errors = errors[np.isfinite(errors)]
        error = float(errors.max()) if errors.size else 0.0
        pixel_map = PixelMap(grid_x, grid_y, step, error)
        if error <= tolerance:
            break
    return pixel_map


def jacobians_at(pixel_map: PixelMap, x: Array, y: Array) -> Array:
    """Float64 (n, 2, 2): d(template x, y) / d(science x, y)."""
    h = 0.5 * pixel_map.step
    right, left = pixel_map.positions(x + h, y), pixel_map.positions(x - h, y)
    up, down = pixel_map.positions(x, y + h), pixel_map.positions(x, y - h)
    rows = [[right[k] - left[k], up[k] - down[k]] for k in (0, 1)]
    return np.moveaxis(np.array(rows) / (2.0 * h), 2, 0)


def inverted(
    pixel_map: PixelMap, x: npt.NDArray[np.int64], y: npt.NDArray[np.int64]
) -> tuple[Array, Array]:
    """Science pixel positions of template pixels, by Newton's method."""
    ny, nx = (pixel_map.step * (n - 1) for n in pixel_map.x.shape)
    at_x, at_y = np.full(len(x), 0.5 * nx), np.full(len(x), 0.5 * ny)
    for _ in range(_NEWTON_STEPS):
        mapped = pixel_map.positions(at_x, at_y)
        miss = np.stack([x - mapped[0], y - mapped[1]], axis=1)
        step = solved(jacobians_at(pixel_map, at_x, at_y), miss)
        at_x, at_y = at_x + step[:, 0], at_y + step[:, 1]
    return at_x, at_y


def solved(jacobians: Array, vectors: Array) -> Array:
    """``J^-1 v`` of each; NaN where there is no inverse."""
    (a, b), (c, d) = jacobians[:, 0].T, jacobians[:, 1].T
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1.0 / (a * d - b * c)
        first = (d * vectors[:, 0] - b * vectors[:, 1]) * inverse
        second = (a * vectors[:, 1] - c * vectors[:, 0]) * inverse
    return np.stack([first, second], axis=1)


def _exact(
    science_wcs: BaseLowLevelWCS, template_wcs: BaseLowLevelWCS, x: Array, y: Array
) -> tuple[Array, Array]:
    """Science pixel -> sky -> template pixel; NaN where the chain does not close."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # Inverse distortions far outside an image need not converge; the round trip below
        # finds those points.
        warnings.simplefilter("ignore")
        lon, lat = (
            np.asarray(c, np.float64)
            for c in science_wcs.pixel_to_world_values(x.ravel(), y.ravel())
        )
        tx, ty = (np.array(c, np.float64) for c in template_wcs.world_to_pixel_values(lon, lat))
        lon2, lat2 = (np.asarray(c, np.float64) for c in template_wcs.pixel_to_world_values(tx, ty))
        lon3, lat3 = (
            np.asarray(c, np.float64) for c in template_wcs.pixel_to_world_values(tx + 1.0, ty)
        )
        miss = _separation(lon, lat, lon2, lat2)
        pixel = _separation(lon2, lat2, lon3, lat3)
        lost = ~(miss <= _ROUND_TRIP_TOLERANCE * pixel)
    tx[lost] = np.nan
    ty[lost] = np.nan
    return tx.reshape(x.shape), ty.reshape(x.shape)


def _separation(lon1: Array, lat1: Array, lon2: Array, lat2: Array) -> Array:
    """Angular distance, radians, of positions in degrees (haversine: exact when small)."""
    lon1, lat1, lon2, lat2 = (np.radians(c) for c in (lon1, lat1, lon2, lat2))
    h = (
        np.sin(0.5 * (lat2 - lat1)) ** 2
        + np.cos(lat1) * np.cos(lat2) * np.sin(0.5 * (lon2 - lon1)) ** 2
    )
    return np.asarray(2.0 * np.arcsin(np.sqrt(np.clip(h, 0.0, 1.0))))
