"""Draw many elliptical Gaussians into a plane."""

from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt

from residua.simulation.sky.imaging.profiles import Mixture, PsfField

__all__ = ["draw"]

type Array = npt.NDArray[np.float64]


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _add_gaussians(plane: Any, x: Any, y: Any, flux: Any, covariance: Any, floor: Any) -> None:
    """Add Gaussians of given flux down to `floor`; rows by the recurrence of exp(-a x^2)."""
    ny, nx = plane.shape
    for k in range(x.size):
        xx, xy, yy = covariance[k, 0], covariance[k, 1], covariance[k, 2]
        determinant = xx * yy - xy * xy
        peak = flux[k] / (2.0 * np.pi * np.sqrt(determinant))
        if abs(peak) <= floor:
            continue
        r2 = 2.0 * np.log(abs(peak) / floor)
        a, b, c = yy / determinant, -xy / determinant, xx / determinant
        reach = np.sqrt(r2 * yy)
        step = np.exp(-a)
        for j in range(max(0, int(np.ceil(y[k] - reach))), min(ny, int(y[k] + reach) + 1)):
            dy = j - y[k]
            root = b * b * dy * dy - a * (c * dy * dy - r2)
            if root <= 0.0:
                continue
            half = np.sqrt(root) / a
            middle = x[k] - b * dy / a
            first = max(0, int(np.ceil(middle - half)))
            last = min(nx - 1, int(np.floor(middle + half)))
            if last < first:
                continue
            dx = first - x[k]
            value = peak * np.exp(-0.5 * (a * dx * dx + 2.0 * b * dx * dy + c * dy * dy))
            ratio = np.exp(-0.5 * a - a * dx - b * dy)
            for i in range(first, last + 1):
                plane[j, i] += value
                value *= ratio
                ratio *= step


def draw(
    plane: npt.NDArray[np.float32],
    psf: PsfField,
    x: Array,
    y: Array,
    flux: Array,
    *,
    profile: Mixture | None = None,
    covariance: Array | None = None,
    floor: float,
) -> None:
    """Add sources, seen through the PSF at their place, to a plane.

    Parameters
    ----------
    plane
        float32 (ny, nx), changed in place.
    psf
        The image's PSF.
    x, y, flux
        float64 (n,): 0-based pixel positions (may lie outside) and fluxes.
    profile, covariance
        Round profile of the sources and float64 (n, 3) (xx, xy, yy) factors of its variances
        in px^2; without them the sources are points.
    floor
        Surface brightness at which each Gaussian is cut off.
    """
    shape = psf.shape(x, y)
    intrinsic = profile or Mixture(np.ones(1), np.zeros(1))
    if covariance is None:
        covariance = np.zeros((len(x), 3))
    for weight, variance in zip(intrinsic.weights, intrinsic.variances, strict=True):
        for psf_weight, psf_variance in zip(
            psf.mixture.weights, psf.mixture.variances, strict=True
        ):
            total = psf_variance * shape + variance * covariance
            _add_gaussians(plane, x, y, weight * psf_weight * flux, total, floor)
