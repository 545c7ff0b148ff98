"""Bright peaks of an image: where stars for the PSF and for the matching kernel are sought."""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.images import FloatPlane, MaskPlane

__all__ = ["Peaks", "brightest_of_cells", "crowding", "find_peaks", "noise_level"]

_SAMPLE_STEP = 16
_PIECE = 64
_MAXIMUM_PEAKS = 400_000


@dataclass(frozen=True)
class Peaks:
    """Local maxima of an image, brightest first.

    Parameters
    ----------
    x, y
        int64 (n,), pixel positions.
    values
        float32 (n,), pixel values there, unit of the image.
    """

    x: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.x)


def noise_level(variance: FloatPlane, mask: MaskPlane, unusable: int) -> float:
    """Typical noise of a pixel: root of the median variance of a sample of the good pixels.

    Parameters
    ----------
    variance
        float32 (ny, nx).
    mask
        int32 (ny, nx).
    unusable
        Mask bits of pixels to leave out.

    Returns
    -------
    float
        Noise in the unit of the image; NaN when the sample has no good pixel.
    """
    step = 1 if variance.size < 1_000_000 else _SAMPLE_STEP
    sample = variance[::step, step // 2 :: step]
    good = sample[(mask[::step, step // 2 :: step] & unusable) == 0]
    good = good[np.isfinite(good) & (good > 0)]
    return float(np.sqrt(np.median(good))) if good.size else float("nan")


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _scan(
    image: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    unusable: np.int32,
    threshold: np.float32,
    border: int,
    found: npt.NDArray[np.int32],
) -> int:
    ny, nx = image.shape
    n = 0
    for y in range(border, ny - border):
        row = image[y]
        above = image[y - 1]
        below = image[y + 1]
        for start in range(border, nx - border, _PIECE):
            end = min(start + _PIECE, nx - border)
            # Most pieces have nothing: count with vector instructions before looking closely.
            piece = row[start:end]
            bright = np.int32(0)
            for i in range(piece.size):
                bright += np.int32(piece[i] > threshold)
            if bright == 0:
                continue
            for x in range(start, end):
                v = row[x]
                # Ties go to the first pixel in reading order.
                if (
                    v > threshold
                    and v > row[x - 1]
                    and v >= row[x + 1]
                    and v > above[x - 1]
                    and v > above[x]
                    and v > above[x + 1]
                    and v >= below[x - 1]
                    and v >= below[x]
                    and v >= below[x + 1]
                    and (mask[y, x] & unusable) == 0
                    and n < found.shape[0]
                ):
                    found[n, 0] = y
                    found[n, 1] = x
                    n += 1
    return n


def find_peaks(
    image: FloatPlane, mask: MaskPlane, unusable: int, threshold: float, border: int
) -> Peaks:
    """Local maxima (of 3 x 3 pixels) above a threshold, on usable pixels.

    Parameters
    ----------
    image
        float32 (ny, nx); NaN never is a peak.
    mask
        int32 (ny, nx).
    unusable
        Mask bits that disqualify a peak's own pixel.
    threshold
        Unit of the image.
    border
        Pixels at the edge that are not searched; at least 1.

    Returns
    -------
    Peaks
        Brightest first; equal values in reading order.
    """
    border = max(border, 1)
    found = np.empty((min(_MAXIMUM_PEAKS, image.size // 4 + 1), 2), np.int32)
    n = _scan(image, mask, np.int32(unusable), np.float32(threshold), border, found)
    y, x = found[:n, 0].astype(np.int64), found[:n, 1].astype(np.int64)
    values = image[y, x]
    order = np.argsort(-values, kind="stable")
    return Peaks(x[order], y[order], values[order])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _crowding(
    x: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
    values: npt.NDArray[np.float32],
    heads: npt.NDArray[np.int64],
    links: npt.NDArray[np.int64],
    cell: int,
    n_check: int,
    radius: float,
    core: float,
    out: npt.NDArray[np.float64],
) -> None:
    n_cells_y, n_cells_x = heads.shape
    for k in range(len(x)):
        cy, cx = y[k] // cell, x[k] // cell
        links[k] = heads[cy, cx]
        heads[cy, cx] = k
    for k in range(n_check):
        cy, cx = y[k] // cell, x[k] // cell
        total = 0.0
        for by in range(max(cy - 1, 0), min(cy + 2, n_cells_y)):
            for bx in range(max(cx - 1, 0), min(cx + 2, n_cells_x)):
                j = heads[by, bx]
                while j >= 0:
                    r2 = float((y[j] - y[k]) ** 2 + (x[j] - x[k]) ** 2)
                    # Faint maxima within the core are noise on the star's own flank.
                    apart = r2 > core * core or values[j] > 0.5 * values[k]
                    if j != k and r2 <= radius * radius and apart:
                        total += values[j] / values[k]
                    j = links[j]
        out[k] = total


def crowding(
    peaks: Peaks, shape: tuple[int, int], radius: float, core: float, n_check: int
) -> npt.NDArray[np.float64]:
    """Sum of the peak values of the neighbours within a radius, over the peak's own value.

    Parameters
    ----------
    peaks
        All peaks of the image.
    shape
        (ny, nx) of the image.
    radius
        Distance within which a peak is a neighbour, pixels.
    core
        Distance within which only peaks of at least half the brightness count, pixels.
    n_check
        How many of the peaks, from the first, to examine.

    Returns
    -------
    numpy.ndarray
        float64 (n_check,); 0 for a star alone.
    """
    n_check = min(n_check, len(peaks))
    out = np.zeros(n_check)
    cell = int(np.ceil(radius)) + 1
    heads = np.full((shape[0] // cell + 1, shape[1] // cell + 1), -1, np.int64)
    links = np.empty(len(peaks), np.int64)
    _crowding(
        peaks.x, peaks.y, peaks.values, heads, links, cell, n_check, float(radius), float(core), out
    )
    return out


def brightest_of_cells(
    peaks: Peaks, shape: tuple[int, int], cells: tuple[int, int], each: int
) -> Peaks:
    """Keep only the brightest peaks of each cell of the image, so that crowding costs no time.

    Parameters
    ----------
    peaks
        Brightest first.
    shape
        (ny, nx) of the image.
    cells
        Number of cells in y and x.
    each
        Peaks to keep per cell.
    """
    cell = peaks.y * cells[0] // shape[0] * cells[1] + peaks.x * cells[1] // shape[1]
    order = np.argsort(cell, kind="stable")  # brightest first within a cell
    sorted_cell = cell[order]
    rank = np.arange(len(order)) - np.searchsorted(sorted_cell, sorted_cell)
    keep = np.sort(order[rank < each])
    return Peaks(peaks.x[keep], peaks.y[keep], peaks.values[keep])
