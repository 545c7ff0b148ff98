"""Second moments of sources, and sources that are trailed."""

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.measure.photometry import forced_flux
from residua.subtraction.measure.source_stamps import PsfStamps

__all__ = ["Moments", "adaptive_moments", "fit_trails"]

type Array = npt.NDArray[np.float64]
type Stamps = npt.NDArray[np.floating]
type Flags = npt.NDArray[np.bool_]
type Moments = Array
"""float64 (n, 3): xx, yy, xy in square pixels."""

_ITERATIONS = 40
_TOLERANCE = 1e-4
_LENGTHS = (0.0, 0.6, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5)
_STEPS = 11


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _moments(image: Array, good: Flags, start: float, out: Array) -> bool:
    """Elliptical Gaussian weight matched to the source (Bernstein & Jarvis 2002)."""
    size = image.shape[0]
    half = size // 2
    cx, cy, xx, yy, xy = 0.0, 0.0, start, start, 0.0
    for _ in range(_ITERATIONS):
        determinant = xx * yy - xy * xy
        if not determinant > 1e-4 or xx > size * size or yy > size * size:
            return False
        s = sx = sy = sxx = syy = sxy = 0.0
        # Beyond four widths the weight is 0.
        wide, high = 4.0 * np.sqrt(xx) + 1.0, 4.0 * np.sqrt(yy) + 1.0
        left, right = max(int(half + cx - wide), 0), min(int(half + cx + wide) + 1, size)
        low, top = max(int(half + cy - high), 0), min(int(half + cy + high) + 1, size)
        for j in range(low, top):
            for i in range(left, right):
                if not good[j, i]:
                    continue
                dx, dy = i - half - cx, j - half - cy
                r2 = (yy * dx * dx - 2.0 * xy * dx * dy + xx * dy * dy) / determinant
                if r2 > 16.0:
                    continue
                w = np.exp(-0.5 * r2) * image[j, i]
                s += w
                sx += w * dx
                sy += w * dy
                sxx += w * dx * dx
                syy += w * dy * dy
                sxy += w * dx * dy
        if not s > 0.0:
            return False
        # A Gaussian under its own weight shows half its covariance, and half a shift.
        new_xx, new_yy, new_xy = 2.0 * sxx / s, 2.0 * syy / s, 2.0 * sxy / s
        step_x, step_y = 2.0 * sx / s, 2.0 * sy / s
        change = abs(new_xx - xx) + abs(new_yy - yy) + abs(new_xy - xy)
        settled = change < _TOLERANCE * (xx + yy) and abs(step_x) + abs(step_y) < 1e-3
        xx, yy, xy = new_xx, new_yy, new_xy
        cx += min(max(step_x, -0.5), 0.5)
        cy += min(max(step_y, -0.5), 0.5)
        if abs(cx) > half or abs(cy) > half:
            return False
        if settled:
            out[0], out[1], out[2] = xx, yy, xy
            return bool(xx * yy - xy * xy > 1e-4)
    return False


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _all_moments(images: Array, good: Flags, start: float, out: Array) -> None:
    for k in range(images.shape[0]):
        if not _moments(images[k], good[k], start, out[k]):
            out[k] = np.nan


def adaptive_moments(images: Stamps, good: Flags, sign: Array, start: float) -> Moments:
    """Adaptive second moments of positive or negative sources in the middle of stamps.

    Parameters
    ----------
    images, good
        (n, size, size).
    sign
        float64 (n,): 1 or -1.
    start
        Square of the first width, square pixels.

    Returns
    -------
    Moments
        NaN where they do not converge.
    """
    out = np.full((len(images), 3), np.nan)
    signed = np.ascontiguousarray(images * sign[:, None, None], np.float64)
    _all_moments(signed, np.ascontiguousarray(good), start, out)
    return out


def fit_trails(
    image: Stamps,
    variance: Stamps,
    good: Flags,
    psf: PsfStamps,
    centre: tuple[Array, Array],
    excess: Moments,
) -> tuple[Array, Array, Array]:
    """PSF drawn out along a line: flux, length in pixels, and angle in radians from x to y.

    The moments beyond those of the PSF give direction and a first length, ``sqrt(12 lambda)``;
    the length that fits best among several around it is taken.

    Parameters
    ----------
    image, variance, good
        (n, size, size).
    psf
        The PSF at the stamps.
    centre
        Position from the central pixel, pixels.
    excess
        Moments of the sources less those of the PSF.
    """
    xx, yy, xy = excess.T
    angle = 0.5 * np.arctan2(2.0 * xy, xx - yy)
    largest = 0.5 * (xx + yy) + np.hypot(0.5 * (xx - yy), xy)
    first = np.sqrt(12.0 * np.maximum(largest, 0.0))
    best = np.full(len(image), np.inf)
    flux, length = np.full(len(image), np.nan), np.full(len(image), np.nan)
    for factor in _LENGTHS:
        model = np.zeros(image.shape)
        for t in (np.arange(_STEPS) + 0.5) / _STEPS - 0.5:
            along = t * factor * first
            model += psf.at(centre[0] + along * np.cos(angle), centre[1] + along * np.sin(angle))
        model /= _STEPS
        value, _, usable = forced_flux(image, variance, good, model)
        residual = np.where(good, image - np.nan_to_num(value)[:, None, None] * model, 0.0)
        misfit = np.where(usable, np.sum(residual**2, axis=(1, 2)), np.inf)
        better = misfit < best
        best = np.where(better, misfit, best)
        flux, length = np.where(better, value, flux), np.where(better, factor * first, length)
    return flux, length, angle
