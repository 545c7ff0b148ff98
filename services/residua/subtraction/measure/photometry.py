"""Fluxes and positions of single sources: PSF fits, forced PSF fluxes, apertures.

All pixels weigh alike, because weights from a variance plane that holds each pixel's own Poisson
noise favour pixels that came out low; the variance is propagated exactly.
"""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.measure.source_stamps import PsfStamps

__all__ = ["PsfFit", "aperture_flux", "disc", "fit_psf", "forced_flux", "ring_median"]

type Array = npt.NDArray[np.float64]
type Stamps = npt.NDArray[np.floating]
type Flags = npt.NDArray[np.bool_]

_ITERATIONS = 2
_LARGEST_STEP = 0.5
_TINY = np.finfo(np.float64).tiny
_LEAST_GOOD, _LEAST_GOOD_OF_PEAK = 0.5, 0.25
"""Share of the PSF's power that must lie on good pixels: at any place, and where the matched
filter, which asks for half, has found a peak beside masked pixels."""


@dataclass(frozen=True)
class PsfFit:
    """PSF fits to stamps, all float64 (n,) unless said otherwise.

    Parameters
    ----------
    dx, dy
        Position from the central pixel, pixels.
    flux, flux_error
        Unit of the image.
    x_variance, y_variance, xy_covariance
        Of the position, square pixels; NaN where it was not fitted.
    chi2, pixels
        Of the good pixels in the disc.
    moved
        bool (n,): the position was fitted; else it is that of the start.
    usable
        bool (n,): a quarter of the PSF's power lies on good pixels.
    """

    dx: Array
    dy: Array
    flux: Array
    flux_error: Array
    x_variance: Array
    y_variance: Array
    xy_covariance: Array
    chi2: Array
    pixels: npt.NDArray[np.int64]
    moved: Flags
    usable: Flags


def disc(half: int, radius: float) -> Flags:
    """Bool (size, size): pixels within a radius of the centre of a stamp."""
    offset = np.arange(-half, half + 1)
    return np.asarray(np.hypot(offset, offset[:, None]) <= radius)


def forced_flux(
    image: Stamps,
    variance: Stamps,
    good: Flags,
    profiles: Array,
    least_good: float = _LEAST_GOOD,
) -> tuple[Array, Array, Flags]:
    """PSF flux at a fixed position.

    ``F = sum P D / sum P^2`` and ``sigma^2 = sum P^2 V / (sum P^2)^2`` over good pixels.

    Parameters
    ----------
    image, variance, good
        (n, size, size).
    profiles
        float64 (n, size, size): unit stars where the sources are.
    least_good
        Share of the PSF's power that must lie on good pixels.

    Returns
    -------
    flux, error, usable
        NaN, and false, where less of the power lies on good pixels.
    """
    axes = (1, 2)
    masked = profiles * good
    power = np.sum(masked**2, axis=axes)
    usable = power > least_good * np.sum(profiles**2, axis=axes)
    safe = np.where(usable, power, 1.0)
    flux = np.sum(masked * np.where(good, image, 0.0), axis=axes) / safe
    error = np.sqrt(np.sum(masked**2 * np.where(good, variance, 0.0), axis=axes)) / safe
    nan = np.where(usable, 0.0, np.nan)
    return flux + nan, error + nan, usable


def fit_psf(
    image: Stamps,
    variance: Stamps,
    good: Flags,
    psf: PsfStamps,
    start: tuple[Array, Array],
    inside: Flags,
    largest_shift: float,
) -> PsfFit:
    """Fit flux and position by Gauss-Newton steps, then measure the flux there.

    Parameters
    ----------
    image, variance, good
        (n, size, size).
    psf
        The PSF at the stamps.
    start
        Position from the central pixel, pixels.
    inside
        bool (size, size): pixels to fit.
    largest_shift
        Pixels beyond which the position is that of the start again.
    """
    good = good & inside
    data = np.where(good, image, 0.0).astype(np.float64)
    noise = np.where(good, variance, 0.0).astype(np.float64)
    x0, y0 = start
    dx, dy = x0.copy(), y0.copy()
    for _ in range(_ITERATIONS):
        solution, _, regular = _solve(data, noise, good, psf.gradients(dx, dy))
        flux = np.where(np.abs(solution[:, 0]) > _TINY, solution[:, 0], np.inf)
        step = np.clip(solution[:, 1:] / flux[:, None], -_LARGEST_STEP, _LARGEST_STEP)
        step[~regular] = 0.0
        dx, dy = dx + step[:, 0], dy + step[:, 1]
    astray = np.hypot(dx - x0, dy - y0) > largest_shift
    astray |= ~(np.isfinite(dx) & np.isfinite(dy))
    dx, dy = np.where(astray, x0, dx), np.where(astray, y0, dy)
    profiles = psf.gradients(dx, dy)
    solution, covariance, regular = _solve(data, noise, good, profiles)
    flux, error, usable = forced_flux(data, noise, good, profiles[0], _LEAST_GOOD_OF_PEAK)
    moved = regular & ~astray & usable
    scale = np.where(moved & (solution[:, 0] != 0.0), solution[:, 0], np.nan) ** -2.0
    residual = (data - np.nan_to_num(flux)[:, None, None] * profiles[0]) * good
    weight = np.where(good & (noise > 0), 1.0 / np.where(noise > 0, noise, 1.0), 0.0)
    return PsfFit(
        dx=dx,
        dy=dy,
        flux=flux,
        flux_error=error,
        x_variance=covariance[:, 1, 1] * scale,
        y_variance=covariance[:, 2, 2] * scale,
        xy_covariance=covariance[:, 1, 2] * scale,
        chi2=np.sum(residual**2 * weight, axis=(1, 2)),
        pixels=np.count_nonzero(good, axis=(1, 2)).astype(np.int64),
        moved=moved,
        usable=usable,
    )


def _solve(
    data: Array, noise: Array, good: Flags, columns: tuple[Array, ...]
) -> tuple[Array, Array, Flags]:
    """Unweighted least squares with the covariance that the noise gives it."""
    n = len(data)
    design = np.stack([(c * good).reshape(n, -1) for c in columns], axis=1)
    normal = design @ design.transpose(0, 2, 1)
    scale = np.sqrt(np.maximum(np.diagonal(normal, axis1=1, axis2=2), _TINY))
    normal = normal / scale[:, :, None] / scale[:, None, :]
    regular = np.isfinite(normal).all(axis=(1, 2)) & (np.linalg.det(normal) > 1e-8)
    normal = np.where(regular[:, None, None], normal, np.eye(normal.shape[1]))
    inverse = np.linalg.inv(normal) / scale[:, :, None] / scale[:, None, :]
    solution = (inverse @ (design @ data.reshape(n, -1, 1)))[:, :, 0]
    middle = (design * noise.reshape(n, 1, -1)) @ design.transpose(0, 2, 1)
    return solution, np.asarray(inverse @ middle @ inverse), regular


def aperture_flux(
    image: Stamps, variance: Stamps, good: Flags, dx: Array, dy: Array, radius: float
) -> tuple[Array, Array, Flags]:
    """Flux within a radius of the sources, its error, and where unusable pixels lie inside."""
    half = image.shape[1] // 2
    offset = np.arange(-half, half + 1)
    r = np.hypot(offset - dx[:, None, None], (offset - dy[:, None])[:, :, None])
    # A pixel on the rim counts by about the part of it that is inside.
    share = np.clip(radius + 0.5 - r, 0.0, 1.0)
    flux = np.sum(np.where(good, image, 0.0) * share, axis=(1, 2))
    error = np.sqrt(np.sum(np.where(good, variance, 0.0) * share**2, axis=(1, 2)))
    return flux, error, np.any(~good & (share > 0), axis=(1, 2))


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _medians(values: Stamps, good: Flags, out: Array) -> None:
    kept = np.empty(values.shape[1], values.dtype)
    for k in range(values.shape[0]):
        n = 0
        for i in range(values.shape[1]):
            if good[k, i] and np.isfinite(values[k, i]):
                kept[n] = values[k, i]
                n += 1
        out[k] = np.median(kept[:n]) if n else np.nan


def ring_median(image: Stamps, good: Flags, inner: float, outer: float) -> Array:
    """Median of the good pixels in a ring around each stamp's centre; NaN without any."""
    half = image.shape[1] // 2
    ring = disc(half, outer) & ~disc(half, inner)
    out = np.empty(len(image))
    _medians(image[:, ring], good[:, ring], out)
    return out
