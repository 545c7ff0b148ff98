"""What the subtraction leaves of the stars, as a fraction of their light.

A residual relative to the flux does not grow with the exposure or with the number of stars, and
medians over the stars leave out those that vary or move: they judge the subtraction, not the sky.
"""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.images import FloatPlane, MaskPlane
from residua.subtraction.masks import UNUSABLE
from residua.subtraction.pixels.peaks import find_peaks

__all__ = ["StarResiduals", "star_residuals"]

type Array = npt.NDArray[np.float64]
type BoolPlane = npt.NDArray[np.bool_]

_PEAK_SN = 10.0
_MAXIMUM_STARS = 600
_RADIUS = 1.25
_WING = (1.5, 3.5)
"""Radii in FWHM: of the disc on which a star is judged, and of the ring of its wings."""
_LEAST_SN, _WING_SN = 50.0, 150.0
_LEAST_STARS = 8
_LEAST_JUDGED = 3
_MEDIAN_ERROR = 1.253
_MAD = 1.4826
_RAYLEIGH_MEDIAN = 1.386
"""Median of the squared length of a vector of two standard normal components, 2 ln 2."""


@dataclass(frozen=True)
class StarResiduals:
    """Medians over the stars; NaN where fewer than three could be judged.

    Parameters
    ----------
    stars
        Stars judged.
    power
        Root of the median over stars of residual power, less that of the noise, over the power
        of the star's own image.
    power_low
        The same with twice the error of the median taken off: what is there for certain.
    flux, flux_error
        Residual flux over flux, and its error.
    wing, wing_error
        Residual flux at 1.5 to 3.5 FWHM over the flux; what a kernel that is too small leaves.
    shift
        Length of the shift between the images that the residuals show, pixels.
    width, width_scatter
        Coefficient of the Laplacian, pixels^2, positive where the matched template is too
        narrow; and its scatter from star to star.
    """

    stars: int
    power: float
    power_low: float
    flux: float
    flux_error: float
    wing: float
    wing_error: float
    shift: float
    width: float
    width_scatter: float


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _sums(
    image: FloatPlane,
    variance: FloatPlane,
    model: FloatPlane,
    good: BoolPlane,
    x: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
    radius: float,
    ring: tuple[float, float],
    out: Array,
) -> None:
    """Add up what is needed of each star.

    Sums of D^2, V, M^2, V^2, D, M; D and V and pixels of the ring; the normal equations of D on
    (M, dM/dx, dM/dy, Laplacian M), upper triangle, then right-hand side, then the noise of the
    right-hand side's two gradients.
    """
    ny, nx = image.shape
    reach = int(np.ceil(ring[1])) + 1
    t = np.empty(4)
    for k in range(len(x)):
        if x[k] < reach or y[k] < reach or x[k] >= nx - reach or y[k] >= ny - reach:
            out[k, 0] = np.nan
            continue
        whole = True
        for b in range(y[k] - reach + 1, y[k] + reach):
            for a in range(x[k] - reach + 1, x[k] + reach):
                r2 = float((a - x[k]) ** 2 + (b - y[k]) ** 2)
                if r2 > ring[1] * ring[1]:
                    continue
                if not good[b, a]:
                    whole &= r2 > radius * radius
                    continue
                d, v, m = float(image[b, a]), float(variance[b, a]), float(model[b, a])
                if r2 <= radius * radius:
                    out[k, 0] += d * d
                    out[k, 1] += v
                    out[k, 2] += m * m
                    out[k, 3] += v * v
                    out[k, 4] += d
                    out[k, 5] += m
                    t[0] = m
                    left, right = float(model[b, a - 1]), float(model[b, a + 1])
                    below, above = float(model[b - 1, a]), float(model[b + 1, a])
                    t[1] = 0.5 * (right - left)
                    t[2] = 0.5 * (above - below)
                    t[3] = left + right + below + above - 4.0 * m
                    n = 9
                    for i in range(4):
                        for j in range(i, 4):
                            out[k, n] += t[i] * t[j]
                            n += 1
                    for i in range(4):
                        out[k, n] += d * t[i]
                        n += 1
                    out[k, n] += v * t[1] * t[1]
                    out[k, n + 1] += v * t[2] * t[2]
                elif r2 >= ring[0] * ring[0]:
                    out[k, 6] += d
                    out[k, 7] += v
                    out[k, 8] += 1.0
        if not whole or not np.isfinite(out[k, 2]):
            out[k, 0] = np.nan


def star_residuals(
    image: FloatPlane,
    variance: FloatPlane,
    matched_template: FloatPlane,
    good: BoolPlane,
    mask: MaskPlane,
    *,
    sigma: float,
    fwhm: float,
    variance_factor: float,
) -> StarResiduals:
    """Judge the difference on the stars that the matched template shows.

    Peaks of more than 10 sigma whose disc of 1.25 FWHM has no unusable pixel, the 600 brightest;
    of those beyond an S/N of 50 the brighter half, at least eight.

    Parameters
    ----------
    image, variance
        float32 (ny, nx): decorrelated difference.
    matched_template
        float32 (ny, nx), in the scale of the difference.
    good
        bool (ny, nx).
    mask
        int32 (ny, nx).
    sigma
        Noise of the difference's sky, unit of the image.
    fwhm
        Of the difference's PSF, pixels.
    variance_factor
        What the sky shows the variance to be, over what ``variance`` says.
    """
    peaks = find_peaks(matched_template, mask, int(UNUSABLE), _PEAK_SN * sigma, 2)
    x, y = peaks.x[:_MAXIMUM_STARS], peaks.y[:_MAXIMUM_STARS]
    sums = np.zeros((len(x), 25))
    _sums(
        image, variance, matched_template, good, x, y,
        _RADIUS * fwhm, (_WING[0] * fwhm, _WING[1] * fwhm), sums,
    )  # fmt: skip
    sums = sums[np.isfinite(sums[:, 0]) & (sums[:, 5] > 0)]
    noise = np.sqrt(variance_factor * sums[:, 1])
    significance = sums[:, 5] / noise
    order = np.argsort(-significance, kind="stable")
    order = order[significance[order] > _LEAST_SN]
    judged = order[: max(_LEAST_STARS, order.size // 2)]
    if judged.size < _LEAST_JUDGED:
        nan = float("nan")
        return StarResiduals(int(judged.size), *(nan,) * 9)
    power, power_low = _power(sums[judged], variance_factor)
    flux, flux_error = _median_and_error(
        sums[judged, 4] / sums[judged, 5], noise[judged] / sums[judged, 5]
    )
    bright = judged[(significance[judged] > _WING_SN) & (sums[judged, 8] > 0)]
    wing, wing_error = _median_and_error(
        sums[bright, 6] / sums[bright, 5],
        np.sqrt(variance_factor * sums[bright, 7]) / sums[bright, 5],
    )
    shift, width, width_scatter = _shape(sums[judged], variance_factor)
    return StarResiduals(
        int(judged.size), power, power_low, flux, flux_error, wing, wing_error,
        shift, width, width_scatter,
    )  # fmt: skip


def _power(sums: Array, factor: float) -> tuple[float, float]:
    excess, error = _median_and_error(
        (sums[:, 0] - factor * sums[:, 1]) / sums[:, 2],
        np.sqrt(2.0 * factor**2 * sums[:, 3]) / sums[:, 2],
    )
    low = excess - 2.0 * error
    return float(np.sqrt(max(excess, 0.0))), float(np.sqrt(max(low, 0.0)))


def _median_and_error(values: Array, errors: Array) -> tuple[float, float]:
    if values.size < _LEAST_JUDGED:
        return float("nan"), float("nan")
    middle = float(np.median(values))
    scatter = _MAD * float(np.median(np.abs(values - middle)))
    error = np.hypot(float(np.median(errors)), scatter) * _MEDIAN_ERROR / np.sqrt(values.size)
    return middle, float(error)


def _shape(sums: Array, factor: float) -> tuple[float, float, float]:
    """Shift, width and its scatter, from the stars' fits; NaN where all are singular."""
    rows, columns = np.triu_indices(4)
    normal = np.empty((len(sums), 4, 4))
    normal[:, rows, columns] = normal[:, columns, rows] = sums[:, 9:19]
    scale = np.sqrt(normal[:, range(4), range(4)])
    regular = np.all(scale > 0, axis=1)
    normal, scale, sums = normal[regular], scale[regular], sums[regular]
    normal = normal / scale[:, :, None] / scale[:, None, :] + 1e-9 * np.eye(4)
    if len(sums) < _LEAST_JUDGED:
        return float("nan"), float("nan"), float("nan")
    solution = np.linalg.solve(normal, (sums[:, 19:23] / scale)[:, :, None])[:, :, 0] / scale
    square = solution[:, 1] ** 2 + solution[:, 2] ** 2
    noise = 0.5 * factor * (sums[:, 23] / scale[:, 1] ** 4 + sums[:, 24] / scale[:, 2] ** 4)
    shift2 = float(np.median(square) / _RAYLEIGH_MEDIAN - np.median(noise))
    width = float(np.median(solution[:, 3]))
    scatter = _MAD * float(np.median(np.abs(solution[:, 3] - width)))
    return float(np.sqrt(max(shift2, 0.0))), width, scatter
