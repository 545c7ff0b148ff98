"""Sky of a plain image: a smooth background, its level and its noise."""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["SkyModel", "estimate_sky", "mesh_cells", "sky_is_gone"]

_MAD_TO_SIGMA = 1.482602
_GONE = 0.7


@dataclass(frozen=True)
class SkyModel:
    """The sky of an image.

    Parameters
    ----------
    background
        float32 (ny, nx), to be subtracted; unit of the image.
    level
        Median of the background.
    noise
        Robust standard deviation of the pixels about it.
    """

    background: npt.NDArray[np.float32]
    level: float
    noise: float


def estimate_sky(
    image: npt.NDArray[np.floating], good: npt.NDArray[np.bool_], *, mesh: int = 128
) -> SkyModel:
    """Estimate a smooth sky: clipped medians on a mesh, smoothed and interpolated by splines.

    The mode of each cell is ``2.5 median - 1.5 mean`` of its clipped pixels where that is
    robust, else the median (Bertin & Arnouts 1996, section 7.1).

    Parameters
    ----------
    image
        float (ny, nx).
    good
        bool (ny, nx), pixels to use.
    mesh
        Side of a cell, pixels; images smaller than four cells have larger relative cells.
    """
    cells, spreads = mesh_cells(image, good, mesh)
    if not np.any(np.isfinite(cells)):
        return SkyModel(np.zeros(image.shape, np.float32), 0.0, float("nan"))
    level = float(np.nanmedian(cells))
    cells = np.where(np.isfinite(cells), cells, level)
    if min(cells.shape) <= 2:
        # Too few cells to tell the sky's slope from its sources.
        background = np.full(image.shape, level, np.float32)
    else:
        background = _interpolate(_without_outliers(cells), image.shape)
    return SkyModel(background, level, float(np.nanmedian(spreads)))


def sky_is_gone(
    image: npt.NDArray[np.floating], good: npt.NDArray[np.bool_]
) -> tuple[float, float] | None:
    """Return level and noise of a sky far below the noise of one pixel; `None` for any other.

    Asks every ninth pixel of a large image: enough to tell that no sky need be subtracted, and
    not to subtract one. Parameters as of `estimate_sky`.
    """
    step = 3
    if image.size < 1_000_000:
        return None
    cells, spreads = mesh_cells(image[::step, ::step], good[::step, ::step], 128 // step)
    if not np.any(np.isfinite(cells)):
        return None
    level, noise = float(np.nanmedian(cells)), float(np.nanmedian(spreads))
    return (level, noise) if noise > 0.0 and abs(level) < _GONE * noise else None


def mesh_cells(
    image: npt.NDArray[np.floating], good: npt.NDArray[np.bool_], mesh: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mode and spread of each cell of a mesh, float64; NaN where there is nothing to see."""
    ny, nx = image.shape
    rows = max(1, round(ny / mesh))
    columns = max(1, round(nx / mesh))
    y_edges = np.linspace(0, ny, rows + 1).astype(int)
    x_edges = np.linspace(0, nx, columns + 1).astype(int)
    cells = np.full((rows, columns), np.nan)
    spreads = np.full((rows, columns), np.nan)
    for j in range(rows):
        for i in range(columns):
            box = np.s_[y_edges[j] : y_edges[j + 1], x_edges[i] : x_edges[i + 1]]
            values = image[box][good[box]]
            if values.size >= 50:
                cells[j, i], spreads[j, i] = _mode(np.sort(values).astype(np.float64))
    return cells, spreads


def _without_outliers(cells: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # A cell full of a galaxy stands out from its neighbours; a slope does not, also not at the
    # border if it is continued straight on.
    padded = np.pad(cells, 1, mode="reflect", reflect_type="odd")
    median = ndimage.median_filter(padded, size=3)[1:-1, 1:-1]
    deviation = cells - median
    scatter = _MAD_TO_SIGMA * float(np.median(np.abs(deviation)))
    return np.where(np.abs(deviation) > 3.0 * max(scatter, 1e-12), median, cells)


def _interpolate(cells: npt.NDArray[np.float64], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    # Continued straight on beyond the outermost cell centres. The cubic spline is separable:
    # four rows of coefficients make one row of the image, four of its columns a pixel.
    padded = np.pad(cells, 1, mode="reflect", reflect_type="odd")
    padded = np.pad(padded, _FILTER_PAD, mode="edge")
    coefficients = ndimage.spline_filter(padded, order=3, mode="nearest", output=np.float64)
    down, across = (_spline(n, m) for n, m in zip(shape, cells.shape, strict=True))
    background = np.empty(shape, np.float32)
    _render(coefficients, *down, *across, background)
    return background


# How far the filter's memory of the border reaches; as `scipy.ndimage.map_coordinates` has it.
_FILTER_PAD = 12


def _spline(n: int, cells: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    # First coefficient and four weights of each pixel along an axis (cubic B-spline).
    place = (np.arange(n) + 0.5) * cells / n + 0.5 + _FILTER_PAD
    first = np.floor(place)
    y = place - first
    z = 1.0 - y
    weights = np.empty((n, 4))
    weights[:, 1] = (y * y * (y - 2.0) * 3.0 + 4.0) / 6.0
    weights[:, 2] = (z * z * (z - 2.0) * 3.0 + 4.0) / 6.0
    weights[:, 0] = z * z * z / 6.0
    weights[:, 3] = 1.0 - weights[:, 0] - weights[:, 1] - weights[:, 2]
    return first.astype(np.intp) - 1, weights


@numba.njit(nogil=True, cache=True)
def _render(
    coefficients: npt.NDArray[np.float64],
    row_first: npt.NDArray[np.intp],
    row_weights: npt.NDArray[np.float64],
    column_first: npt.NDArray[np.intp],
    column_weights: npt.NDArray[np.float64],
    out: npt.NDArray[np.float32],
) -> None:
    # In a fixed order, pixel by pixel: a part of the sky has the bits of the whole.
    ny, nx = out.shape
    line = np.empty(coefficients.shape[1])
    for j in range(ny):
        k = row_first[j]
        for i in range(line.size):
            line[i] = (
                row_weights[j, 0] * coefficients[k, i]
                + row_weights[j, 1] * coefficients[k + 1, i]
                + row_weights[j, 2] * coefficients[k + 2, i]
                + row_weights[j, 3] * coefficients[k + 3, i]
            )
        for i in range(nx):
            m = column_first[i]
            out[j, i] = (
                column_weights[i, 0] * line[m]
                + column_weights[i, 1] * line[m + 1]
                + column_weights[i, 2] * line[m + 2]
                + column_weights[i, 3] * line[m + 3]
            )


@numba.njit(nogil=True, cache=True)
def _mode(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    # Of sorted values: what is clipped are the ends, and medians need no other sorting.
    start, stop = 0, values.size
    median = 0.0
    for _ in range(10):
        median = _middle(values, start, stop)
        sigma = _MAD_TO_SIGMA * _deviation(values, start, stop, median)
        if sigma == 0.0:
            break
        low, high = start, stop
        while abs(values[low] - median) > 3.0 * sigma:
            low += 1
        while abs(values[high - 1] - median) > 3.0 * sigma:
            high -= 1
        if (low, high) == (start, stop):
            break
        start, stop = low, high
    kept = values[start:stop]
    median, mean, sigma = _middle(values, start, stop), kept.mean(), kept.std()
    if sigma > 0.0 and abs(mean - median) < 0.3 * sigma:
        return 2.5 * median - 1.5 * mean, sigma
    return median, sigma


@numba.njit(nogil=True, cache=True)
def _middle(values: npt.NDArray[np.float64], start: int, stop: int) -> float:
    half = (start + stop) // 2
    if (stop - start) % 2:
        return float(values[half])
    return 0.5 * float(values[half - 1] + values[half])


@numba.njit(nogil=True, cache=True)
def _deviation(values: npt.NDArray[np.float64], start: int, stop: int, median: float) -> float:
    # Median distance from the median: from the middle outwards, the nearer side first.
    n = stop - start
    right = start
    while right < stop and values[right] < median:
        right += 1
    left = right - 1
    last = before = 0.0
    for _ in range(n // 2 + 1):
        before = last
        if left < start or (right < stop and values[right] - median <= median - values[left]):
            last = values[right] - median
            right += 1
        else:
            last = median - values[left]
            left -= 1
    return last if n % 2 else 0.5 * (before + last)
