"""Centroids and widths of objects under a Gaussian weight of their own width."""

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.images import FloatPlane, MaskPlane

__all__ = ["adaptive_moments", "stamp_width"]

_LEAST_BESIDE = 0.12
"""Mean of the four pixels beside a peak over the peak: 0.2 of a star of 1.3 px FWHM, 0 of a hit."""

_LEAST_VARIANCE = 0.1
"""Square pixels, below which a width means nothing."""


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _is_single(
    image: npt.NDArray[np.float32], x: int, y: int, binning: int, least_peak: float
) -> bool:
    """Whether the brightest pixel of a binned one stands alone."""
    ny, nx = image.shape
    best_y, best_x = y, x
    for j in range(max(y - binning + 1, 1), min(y + binning, ny - 1)):
        for i in range(max(x - binning + 1, 1), min(x + binning, nx - 1)):
            if image[j, i] > image[best_y, best_x]:
                best_y, best_x = j, i
    if not (0 < best_y < ny - 1 and 0 < best_x < nx - 1):
        return False
    peak = image[best_y, best_x]
    beside = (image[best_y - 1, best_x] + image[best_y + 1, best_x]) + (
        image[best_y, best_x - 1] + image[best_y, best_x + 1]
    )
    return bool(peak > least_peak and 0.25 * beside < _LEAST_BESIDE * peak)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _adaptive_moments(
    image: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    unusable: np.int32,
    x: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
    binning: int,
    least_peak: float,
    out: npt.NDArray[np.float64],
) -> None:
    """Centroid and width with a round Gaussian weight of the star's own width (Bernstein 2002).

    NaN for what has none, and for single pixels that are bright: hits are no stars.
    """
    ny, nx = image.shape
    area = float(binning * binning)
    for k in range(len(x)):
        if _is_single(image, x[k], y[k], binning, least_peak):
            out[k] = np.nan
            continue
        cx, cy, variance = float(x[k]), float(y[k]), 4.0 * area
        for _ in range(12):
            half = min(int(np.ceil(2.5 * np.sqrt(variance))), 15 * binning)
            ix, iy = round(cx), round(cy)
            if ix - half < 0 or iy - half < 0 or ix + half >= nx or iy + half >= ny:
                variance = np.nan
                break
            s = sx = sy = srr = 0.0
            bad = False
            for j in range(iy - half, iy + half + 1):
                for i in range(ix - half, ix + half + 1):
                    dx, dy = i - cx, j - cy
                    r2 = dx * dx + dy * dy
                    if r2 > 6.25 * variance:
                        continue
                    if (mask[j, i] & unusable) != 0:
                        bad = True
                    w = np.exp(-0.5 * r2 / variance) * image[j, i]
                    s += w
                    sx += w * dx
                    sy += w * dy
                    srr += w * r2
            if bad or not s > 0.0:
                variance = np.nan
                break
            cx += sx / s * 2.0
            cy += sy / s * 2.0
            new = srr / s  # a Gaussian under its own weight shows half its variance per axis
            if (
                not _LEAST_VARIANCE < new < 60.0 * area
                or max(abs(cx - x[k]), abs(cy - y[k])) > 2.0 * binning
            ):
                variance = np.nan
                break
            settled = abs(new - variance) < 1e-3 * variance
            variance = new
            if settled:
                break
        out[k, 0], out[k, 1], out[k, 2] = cx, cy, np.sqrt(variance)


def adaptive_moments(
    image: FloatPlane,
    mask: MaskPlane,
    unusable: int,
    x: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
    *,
    binning: int,
    least_peak: float,
) -> npt.NDArray[np.float64]:
    """Measure centroid and Gaussian width of objects.

    Parameters
    ----------
    image, mask
        float32 and int32 (ny, nx), background-subtracted.
    unusable
        Mask bits that an object must not touch.
    x, y
        int64 (n,): where they peak.
    binning
        Side in pixels of the squares in which the peaks were found.
    least_peak
        Pixel value above which a pixel that stands alone is a hit.

    Returns
    -------
    numpy.ndarray
        float64 (n, 3): x, y, width in pixels; NaN for what has none, and for hits.
    """
    moments = np.empty((len(x), 3))
    _adaptive_moments(image, mask, np.int32(unusable), x, y, binning, least_peak, moments)
    return moments


def stamp_width(stamp: npt.NDArray[np.float64]) -> float:
    """Gaussian width of a centred stamp under a round window of that width, as stars have it."""
    offset = np.arange(stamp.shape[0]) - stamp.shape[0] // 2
    r2 = offset[:, None] ** 2.0 + offset**2.0
    variance = 4.0
    for _ in range(20):
        weight = np.where(r2 <= 6.25 * variance, np.exp(-0.5 * r2 / variance), 0.0) * stamp
        total = float(weight.sum())
        if not total > 0:
            return float("nan")
        new = float(np.sum(weight * r2)) / total
        if not new > _LEAST_VARIANCE:
            return float("nan")
        settled = abs(new - variance) < 1e-3 * variance
        variance = new
        if settled:
            break
    return float(np.sqrt(variance))
