"""Selection of the stars (and compact galaxies) on which the matching kernel is fitted."""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.images import FloatPlane, MaskPlane
from residua.subtraction.masks import MaskBit
from residua.subtraction.pixels.peaks import brightest_of_cells, find_peaks, noise_level

__all__ = ["KernelStars", "select_kernel_stars"]

CELLS = 12
STARS_PER_CELL = 3
_MANY_STARS, _ENOUGH_STARS = 100, 6
_TIERS = (150.0, 60.0, 20.0, 0.0)
"""Least peak over the noise of the image that is convolved: its noise biases the kernel low,
and faint stars bring more noise than they bring signal."""
_FAINTEST_SN = 7.0
_CORE_HALF_WIDTH = 3
_UNUSABLE = 0.2
_FORBIDDEN = int(MaskBit.SATURATED | MaskBit.SAT_TEMPLATE)
"""A saturated star has a wrong flux that outweighs every good star of a stamp."""


@dataclass(frozen=True)
class KernelStars:
    """Positions of the stamps of the kernel fit, brightest first.

    Parameters
    ----------
    x, y
        int64 (n,), pixel of the peak.
    peak_sn
        float64 (n,), peak value over the noise of the sky.
    """

    x: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]
    peak_sn: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.x)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _choose(
    x: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
    mask: npt.NDArray[np.int32],
    unusable: np.int32,
    forbidden: np.int32,
    reach: int,
    core: int,
    allowed: float,
    distance: int,
    per_cell: int,
    counts: npt.NDArray[np.int64],
    taken: npt.NDArray[np.bool_],
) -> None:
    ny, nx = mask.shape
    cells_y, cells_x = counts.shape
    for k in range(len(x)):
        if taken[k]:
            continue
        cy, cx = y[k] * cells_y // ny, x[k] * cells_x // nx
        if counts[cy, cx] >= per_cell:
            continue
        free = True
        for j in range(len(x)):
            if taken[j] and max(abs(x[j] - x[k]), abs(y[j] - y[k])) < distance:
                free = False
                break
        if not free:
            continue
        n_bad = 0
        n = 0
        for yy in range(max(y[k] - reach, 0), min(y[k] + reach + 1, ny)):
            for xx in range(max(x[k] - reach, 0), min(x[k] + reach + 1, nx)):
                n += 1
                if (mask[yy, xx] & unusable) != 0:
                    n_bad += 1
                    in_core = abs(yy - y[k]) <= core and abs(xx - x[k]) <= core
                    if in_core or (mask[yy, xx] & forbidden) != 0:
                        n_bad += 1_000_000
            if n_bad > 1_000_000:
                break
        if n_bad <= allowed * n:
            taken[k] = True
            counts[cy, cx] += 1


def select_kernel_stars(
    image: FloatPlane,
    variance: FloatPlane,
    source: FloatPlane,
    source_variance: FloatPlane,
    mask: MaskPlane,
    unusable: int,
    *,
    stamp_half_width: int,
    kernel_half_width: int,
) -> KernelStars:
    """Bright isolated peaks on good pixels, spread over the detector.

    The detector is divided into at most 12 x 12 cells. The brightest peak of each cell is
    taken, no two closer than half a stamp, where no pixel within reach of stamp and kernel is
    unusable. Where that leaves fewer than 100 stars, up to three are taken from a cell, then
    also places with up to a fifth of the pixels unusable (but none saturated). While there
    are fewer than six, fainter peaks follow.

    Parameters
    ----------
    image, variance
        float32 (ny, nx), science image.
    source, source_variance
        float32 (ny, nx), the image that is convolved.
    mask
        int32 (ny, nx), union of the science image's and the warped template's mask.
    unusable
        Mask bits that must not lie in a stamp.
    stamp_half_width, kernel_half_width
        Pixels.

    Returns
    -------
    KernelStars
        Possibly empty.
    """
    ny, nx = image.shape
    sigma = noise_level(variance, mask, unusable)
    # Closer to the edge than this a stamp has less than a few rows beyond its peak.
    border = kernel_half_width + _CORE_HALF_WIDTH
    if not np.isfinite(sigma) or min(ny, nx) <= 2 * border + 1:
        empty = np.zeros(0, np.int64)
        return KernelStars(empty, empty, np.zeros(0))
    cells = (
        min(CELLS, max(1, ny // (2 * stamp_half_width))),
        min(CELLS, max(1, nx // (2 * stamp_half_width))),
    )
    peaks = find_peaks(image, mask, unusable, _FAINTEST_SN * sigma, border)
    peaks = brightest_of_cells(peaks, (ny, nx), cells, 30)
    source_sn = source[peaks.y, peaks.x] / noise_level(source_variance, mask, unusable)
    taken = np.zeros(len(peaks), np.bool_)
    counts = np.zeros(cells, np.int64)
    reach = stamp_half_width + kernel_half_width
    for least in _TIERS:
        bright = np.flatnonzero((source_sn >= least) | taken)
        for per_cell, allowed in ((1, 0.0), (STARS_PER_CELL, 0.0), (STARS_PER_CELL, _UNUSABLE)):
            chosen_here = taken[bright]
            _choose(
                peaks.x[bright], peaks.y[bright], mask, np.int32(unusable), np.int32(_FORBIDDEN),
                reach, _CORE_HALF_WIDTH, allowed, stamp_half_width, per_cell, counts,
                chosen_here,
            )  # fmt: skip
            taken[bright] = chosen_here
            if taken.sum() >= _MANY_STARS:
                break
        if taken.sum() >= _ENOUGH_STARS:
            break
    chosen = np.flatnonzero(taken)
    return KernelStars(
        peaks.x[chosen], peaks.y[chosen], peaks.values[chosen].astype(np.float64) / sigma
    )
