"""Draw the stars, galaxies and transients of a field, on the sky."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from residua.simulation.sky.imaging.projection import make_wcs, pixel_to_pixel
from residua.simulation.sky.scene import SceneConfig

__all__ = ["MINIMUM_SEPARATION", "Catalogue", "draw_catalogue", "place", "select", "sky_frame"]

type Array = npt.NDArray[np.float64]

MINIMUM_SEPARATION = 30.0
"""Pixels between transients, so that each can be measured alone."""


@dataclass(frozen=True)
class Catalogue:
    """Constant sources on a tangent plane about the field's centre.

    Parameters
    ----------
    frame
        TAN WCS of the tangent plane, pixels of the images' scale, north up.
    x, y
        float64 (n,): positions on that plane.
    flux
        float64 (n,), nJy.
    covariance
        float64 (n, 3): (xx, xy, yy) in px^2 with the half-light radius as unit; 0 for stars.
    sersic
        float64 (n,): Sersic index; 0 for stars.
    """

    frame: WCS
    x: Array
    y: Array
    flux: Array
    covariance: Array
    sersic: Array

    @property
    def radius(self) -> Array:
        """Half-light radius along the major axis, pixels; float64 (n,)."""
        xx, xy, yy = self.covariance.T
        return np.sqrt(0.5 * (xx + yy) + np.sqrt(0.25 * (xx - yy) ** 2 + xy**2))


def sky_frame(ra: float, dec: float, pixel_scale: float) -> WCS:
    """Tangent plane about a sky position, with pixel (0, 0) there."""
    return make_wcs(ra, dec, centre=(0.0, 0.0), pixel_scale=pixel_scale, rotation=0.0)


def _power_law(
    rng: np.random.Generator, n: int, limits: tuple[float, float], slope: float
) -> Array:
    """Fluxes with cumulative counts ~ flux^-slope between two limits."""
    low, high = limits[0] ** -slope, limits[1] ** -slope
    return np.asarray((low - rng.random(n) * (low - high)) ** (-1.0 / slope))


def draw_catalogue(
    config: SceneConfig, rng: np.random.Generator, frame: WCS, half_side: float
) -> Catalogue:
    """Draw stars and galaxies in a square about the origin of `frame`.

    Parameters
    ----------
    config
        Counts and flux limits.
    rng
        Source of randomness.
    frame
        The tangent plane (`sky_frame`).
    half_side
        Half the side of the square, pixels.
    """
    frames = (2.0 * half_side) ** 2 / (config.shape[0] * config.shape[1])
    per_frame = config.stars * config.area if config.star_count is None else config.star_count
    n_stars, n_galaxies = round(per_frame * frames), round(config.galaxies * config.area * frames)
    n = n_stars + n_galaxies
    x, y = rng.uniform(-half_side, half_side, (2, n))
    galaxy_flux = _power_law(rng, n_galaxies, config.galaxy_flux_range, 0.9)
    flux = np.concatenate(
        [_power_law(rng, n_stars, config.star_flux_range, config.star_slope), galaxy_flux]
    )
    # Brighter galaxies are larger: 0.35 arcsec at 1 uJy, with scatter.
    radius = 0.35 / config.pixel_scale * (galaxy_flux / 1000.0) ** 0.15
    radius = radius * rng.lognormal(0.0, 0.25, n_galaxies)
    axis_ratio = rng.uniform(0.3, 1.0, n_galaxies)
    angle = rng.uniform(0.0, np.pi, n_galaxies)
    major, minor = radius**2, (radius * axis_ratio) ** 2
    cos, sin = np.cos(angle), np.sin(angle)
    shapes = np.stack(
        [
            major * cos**2 + minor * sin**2,
            (major - minor) * cos * sin,
            major * sin**2 + minor * cos**2,
        ],
        axis=-1,
    )
    sersic = np.where(rng.random(n_galaxies) < 0.25, 4.0, 1.0)
    return Catalogue(
        frame,
        x,
        y,
        flux,
        np.concatenate([np.zeros((n_stars, 3)), shapes]),
        np.concatenate([np.zeros(n_stars), sersic]),
    )


def place(catalogue: Catalogue, wcs: WCS) -> tuple[Array, Array, Array]:
    """Positions (x, y) and covariances (n, 3) of the sources on an image's pixel grid."""
    x, y = pixel_to_pixel(catalogue.frame, wcs, catalogue.x, catalogue.y)
    x1, y1 = pixel_to_pixel(catalogue.frame, wcs, catalogue.x + 1.0, catalogue.y)
    x2, y2 = pixel_to_pixel(catalogue.frame, wcs, catalogue.x, catalogue.y + 1.0)
    jacobian = np.stack([x1 - x, x2 - x, y1 - y, y2 - y], axis=-1).reshape(-1, 2, 2)
    xx, xy, yy = catalogue.covariance.T
    shapes = np.stack([xx, xy, xy, yy], axis=-1).reshape(-1, 2, 2)
    shapes = jacobian @ shapes @ jacobian.transpose(0, 2, 1)
    return x, y, np.stack([shapes[:, 0, 0], shapes[:, 0, 1], shapes[:, 1, 1]], axis=-1)


def select(
    rng: np.random.Generator,
    shape: tuple[int, int],
    n: int,
    hosts: tuple[Array, Array, Array],
    hosted_fraction: float,
) -> tuple[Array, Array]:
    """Choose pixel positions of transients on a frame, some of them on galaxies.

    Parameters
    ----------
    rng
        Source of randomness.
    shape
        (ny, nx) of the frame.
    n
        Number of transients wanted; crowded out ones are dropped.
    hosts
        x, y and radius of the galaxies, pixels.
    hosted_fraction
        Fraction put within about one radius of a galaxy.
    """
    ny, nx = shape
    margin = min(25.0, nx / 8, ny / 8)
    x, y = rng.uniform(margin, nx - margin, n), rng.uniform(margin, ny - margin, n)
    host_x, host_y, radius = hosts
    inside = (host_x > margin) & (host_x < nx - margin) & (host_y > margin) & (host_y < ny - margin)
    candidates = np.flatnonzero(inside)
    if candidates.size:
        chosen = rng.choice(candidates, n)
        offset = rng.normal(0.0, 0.7, (2, n)) * radius[chosen]
        hosted = rng.random(n) < hosted_fraction
        x = np.where(hosted, host_x[chosen] + offset[0], x)
        y = np.where(hosted, host_y[chosen] + offset[1], y)
    kept = np.ones(n, bool)
    for i, j in sorted(cKDTree(np.stack([x, y], axis=-1)).query_pairs(MINIMUM_SEPARATION)):
        kept[j] &= not kept[i]
    return x[kept], y[kept]
