"""Positions of stars in an image as it is: centroids under a round Gaussian window.

No model of the PSF is needed, nor a common grid: the window's width is that of the stars of
the image. An asymmetric PSF offsets all centroids alike, or smoothly over the image.
"""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.images import FloatPlane, MaskPlane

__all__ = ["Centroids", "star_width", "windowed_centroids"]

type Array = npt.NDArray[np.float64]

_REACH = 3.0
"""Radius of the window over its width."""
_ITERATIONS = 20
_TOLERANCE = 1e-4
_FLOOR = 0.01
"""Error that no centroid is below, pixels: the sampling of the window."""
_BOX_HALF_WIDTH = 8
_WIDTH_LIMITS = (0.6, 8.0)


@dataclass(frozen=True)
class Centroids:
    """Result of `windowed_centroids`; NaN where there is none.

    Parameters
    ----------
    x, y
        float64 (n,), pixels.
    variance
        float64 (n,), pixels^2 along each axis.
    """

    x: Array
    y: Array
    variance: Array


def star_width(image: FloatPlane, x: npt.NDArray[np.int64], y: npt.NDArray[np.int64]) -> float:
    """Gaussian width in pixels of the effective area of stars; NaN without any.

    Parameters
    ----------
    image
        float32 (ny, nx).
    x, y
        int64 (n,): peaks of bright stars.
    """
    areas = []
    for cx, cy in zip(x, y, strict=True):
        half = _BOX_HALF_WIDTH
        box = image[max(cy - half, 0) : cy + half + 1, max(cx - half, 0) : cx + half + 1]
        total, square = float(box.sum()), float(np.sum(box.astype(np.float64) ** 2))
        if np.isfinite(total) and total > 0 and square > 0:
            areas.append(total**2 / square)
    if not areas:
        return float("nan")
    return float(np.clip(np.sqrt(np.median(areas) / (4.0 * np.pi)), *_WIDTH_LIMITS))


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _centroids(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    unusable: np.int32,
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    width: float,
    wander: float,
    out: npt.NDArray[np.float64],
) -> None:
    ny, nx = image.shape
    reach = _REACH * width
    across = np.empty(int(2.0 * reach) + 4)
    for k in range(len(x)):
        out[k, 0] = out[k, 1] = out[k, 2] = np.nan
        cx, cy = x[k], y[k]
        if not (np.isfinite(cx) and np.isfinite(cy)):
            continue
        settled = False
        for _ in range(_ITERATIONS):
            x0, x1 = int(np.floor(cx - reach)), int(np.ceil(cx + reach))
            y0, y1 = int(np.floor(cy - reach)), int(np.ceil(cy + reach))
            if x0 < 0 or y0 < 0 or x1 >= nx or y1 >= ny:
                break
            # The window is the product of its sections: no exponential for each pixel.
            for i in range(x0, x1 + 1):
                across[i - x0] = np.exp(-0.5 * (i - cx) ** 2 / (width * width))
            total = sum_x = sum_y = noise = 0.0
            clean = True
            for j in range(y0, y1 + 1):
                along = np.exp(-0.5 * (j - cy) ** 2 / (width * width))
                for i in range(x0, x1 + 1):
                    dx, dy = i - cx, j - cy
                    r2 = dx * dx + dy * dy
                    if r2 > reach * reach:
                        continue
                    value, v = image[j, i], variance[j, i]
                    if (mask[j, i] & unusable) != 0 or not (np.isfinite(value) and v > 0.0):
                        clean = False
                    w = along * across[i - x0]
                    total += w * value
                    sum_x += w * value * dx
                    sum_y += w * value * dy
                    noise += w * w * v * 0.5 * r2
            if not clean or not total > 0.0:
                break
            # A Gaussian under a window of its own width shows half of its offset.
            step_x, step_y = 2.0 * sum_x / total, 2.0 * sum_y / total
            cx += step_x
            cy += step_y
            if abs(cx - x[k]) > wander or abs(cy - y[k]) > wander:
                break
            if abs(step_x) < _TOLERANCE and abs(step_y) < _TOLERANCE:
                settled = True
                break
        if settled:
            out[k, 0], out[k, 1] = cx, cy
            out[k, 2] = 4.0 * noise / (total * total) + _FLOOR * _FLOOR


def windowed_centroids(
    image: FloatPlane,
    variance: FloatPlane,
    mask: MaskPlane,
    unusable: int,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    width: float,
) -> Centroids:
    """Centroids ``c`` with ``sum w I (x - c) = 0``, ``w = exp(-r^2 / 2 width^2)``, r <= 3 width.

    Parameters
    ----------
    image, variance
        float32 (ny, nx), background-subtracted.
    mask
        int32 (ny, nx).
    unusable
        Mask bits that no pixel under the window may carry.
    x, y
        float64 (n,): where to start, pixels.
    width
        Of the window, pixels.

    Returns
    -------
    Centroids
        NaN where the window holds an unusable pixel or reaches beyond the image, and where
        the centroid settles nowhere near the start.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    out = np.empty((x.size, 3))
    wander = max(2.0, 1.5 * width)
    _centroids(image, variance, mask, np.int32(unusable), x, y, width, wander, out)
    return Centroids(out[:, 0], out[:, 1], out[:, 2])
