"""Places on the sky of what was measured in pixels, with the errors that go with it."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from astropy.wcs.wcsapi import BaseLowLevelWCS

__all__ = ["scale_at_centre", "sky_columns"]

type Array = npt.NDArray[np.float64]

_DEGREE = np.pi / 180.0


def scale_at_centre(wcs: "BaseLowLevelWCS", shape: tuple[int, ...]) -> float:
    """Arcsec per pixel at the centre."""
    x, y = (shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0
    matrix = _jacobian(np.array([x]), np.array([y]), wcs)[0]
    return float(np.sqrt(abs(np.linalg.det(matrix))) * 3600.0)


def sky_columns(
    x: Array, y: Array, xx: Array, yy: Array, xy: Array, wcs: "BaseLowLevelWCS"
) -> dict[str, npt.NDArray[np.generic]]:
    """Places on the sky, with their errors and covariance.

    Parameters
    ----------
    x, y
        float64 (n,), pixels.
    xx, yy, xy
        Their variances and covariance, pixels^2.
    wcs
        Celestial WCS, ICRS degrees.

    Returns
    -------
    dict
        ``ra, dec``, degrees; ``ra_error`` (of ra cos dec) and ``dec_error``, degrees;
        ``ra_dec_covariance``, degrees^2.
    """
    ra, dec = wcs.pixel_to_world_values(x, y)
    matrix = _jacobian(x, y, wcs)
    covariance = np.stack([np.stack([xx, xy], axis=-1), np.stack([xy, yy], axis=-1)], axis=-1)
    sky = matrix @ covariance @ matrix.transpose(0, 2, 1)
    return {
        "ra": np.asarray(ra),
        "dec": np.asarray(dec),
        "ra_error": np.sqrt(sky[:, 0, 0]),
        "dec_error": np.sqrt(sky[:, 1, 1]),
        "ra_dec_covariance": sky[:, 0, 1],
    }


def _jacobian(x: Array, y: Array, wcs: "BaseLowLevelWCS") -> Array:
    """Float64 (n, 2, 2): d(ra cos dec, dec) / d(x, y), degrees a pixel."""
    ra, dec = wcs.pixel_to_world_values(x, y)
    columns = []
    for dx, dy in ((1.0, 0.0), (0.0, 1.0)):
        a, d = wcs.pixel_to_world_values(x + dx, y + dy)
        turn = (np.asarray(a) - ra + 180.0) % 360.0 - 180.0
        columns.append(np.stack([turn * np.cos(np.asarray(dec) * _DEGREE), d - dec], axis=-1))
    return np.stack(columns, axis=-1)
