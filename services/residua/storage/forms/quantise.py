"""Quantisation of float planes, tile by tile, with subtractive dithering.

White & Greenfield (1999); cfitsio's SUBTRACTIVE_DITHER_2: exact zeros stay exact. An image is coded
to a sixteenth of the noise of each tile, a variance to a fixed part of its median.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

__all__ = [
    "DITHER_SEED",
    "DITHER_TABLE",
    "NULL",
    "TILE",
    "image_steps",
    "is_constant",
    "n_tiles",
    "quantise",
    "tile_of",
    "variance_steps",
]

TILE = 256
"""Rows and columns of a tile."""

DITHER_SEED = 1
"""ZDITHER0: where the standard's table of random numbers is entered; fixed, so bytes are."""

LEVEL = 16.0
"""Quantisation steps of an image per standard deviation of its noise."""

VARIANCE_LEVEL = 64.0
"""Quantisation steps of a variance per median: an error of 0.5 % rms there, without bias."""

NULL = -2147483648
"""The code of NaN (ZBLANK)."""

_ZERO = -2147483646
_RESERVED = 10
_OFFSET_UNIT = 1024.0
_SAMPLE = 4096


def _dither_table() -> npt.NDArray[np.float32]:
    # The random numbers of the FITS standard, appendix I.
    table = np.empty(10000, np.float32)
    seed = 1.0
    for i in range(10000):
        product = 16807.0 * seed
        seed = product - 2147483647.0 * float(int(product / 2147483647.0))
        table[i] = seed / 2147483647.0
    return table


DITHER_TABLE = _dither_table()


@numba.njit(nogil=True, cache=True)
def _noise(tile: npt.NDArray[np.float32], step: int, differences: npt.NDArray[np.float32]) -> float:
    # Third-order differences along rows (Stoehr et al. 2007, DER_SNR), median over every
    # step-th. Fill values (zeros, ties, NaN) are not noise; 0 where there is nothing to measure.
    n = 0
    ny, nx = tile.shape
    for j in range(0, ny, step):
        row = tile[j]
        for i in range(2, nx - 2):
            d = abs(2.0 * row[i] - row[i - 2] - row[i + 2])
            if np.isfinite(d) and d > 0.0 and row[i] != 0.0:
                differences[n] = d
                n += 1
    if n < 16:
        return 0.0
    return 0.6052697 * float(np.median(differences[:n]))


@numba.njit(nogil=True, cache=True)
def _median(tile: npt.NDArray[np.float32], step: int, values: npt.NDArray[np.float32]) -> float:
    # Of what is positive in every step-th row; 0 where nothing is.
    n = 0
    ny, nx = tile.shape
    for j in range(0, ny, step):
        for i in range(nx):
            v = tile[j, i]
            if np.isfinite(v) and v > 0.0:
                values[n] = v
                n += 1
    return float(np.median(values[:n])) if n else 0.0


@numba.njit(nogil=True, cache=True)
def is_constant(tile: npt.NDArray[np.float32]) -> bool:
    """Whether all finite pixels are alike: exact is smaller than quantised."""
    ny, nx = tile.shape
    found = np.float32(np.nan)
    for j in range(ny):
        for i in range(nx):
            v = tile[j, i]
            if np.isfinite(v):
                if np.isnan(found):
                    found = v
                elif v != found:
                    return False
    return True


@numba.njit(nogil=True, cache=True)
def quantise(
    tile: npt.NDArray[np.float32],
    scale: float,
    first: int,
    dither: npt.NDArray[np.float32],
    out: npt.NDArray[np.int32],
) -> tuple[bool, float]:
    """Quantise a tile.

    NaN becomes `NULL`, an exact zero a code of its own. The other codes begin near these, so that
    blocks with both stay small; where they begin is a round number of steps, which hardly ever
    depends on one pixel.

    Parameters
    ----------
    tile
        float32 (ny, nx).
    scale
        The step.
    first
        Where the table of random numbers is entered: the tile's number and the seed.
    dither
        That table.
    out
        int32 (ny, nx): the codes.

    Returns
    -------
    fits_in, zero
        Whether the range fits, and the zero point.
    """
    ny, nx = tile.shape
    low = high = 0.0
    for j in range(ny):
        for i in range(nx):
            v = tile[j, i]
            if np.isfinite(v):
                low = min(low, float(v))
                high = max(high, float(v))
    below = np.ceil(-low / scale / _OFFSET_UNIT) * _OFFSET_UNIT
    if high / scale + below > 4294967295.0 - 3 * _RESERVED:
        return False, 0.0
    zero = -scale * (float(NULL) + _RESERVED + below)
    seed = first % 10000
    k = int(dither[seed] * 500.0)
    for j in range(ny):
        for i in range(nx):
            v = tile[j, i]
            if not np.isfinite(v):
                out[j, i] = NULL
            elif v == 0.0:
                out[j, i] = _ZERO
            else:
                q = (float(v) - zero) / scale + float(dither[k]) - 0.5
                out[j, i] = int(q + 0.5) if q >= 0.0 else int(q - 0.5)
            k += 1
            if k == 10000:
                seed += 1
                if seed == 10000:
                    seed = 0
                k = int(dither[seed] * 500.0)
    return True, zero


def tile_of(plane: npt.NDArray[Any], index: int) -> npt.NDArray[Any]:
    """Return a tile of a plane, by its number: row by row of tiles."""
    down, right = divmod(index, -(-plane.shape[1] // TILE))
    return plane[down * TILE : (down + 1) * TILE, right * TILE : (right + 1) * TILE]


def n_tiles(plane: npt.NDArray[Any]) -> int:
    """Return the number of tiles of a plane."""
    return -(-plane.shape[0] // TILE) * -(-plane.shape[1] // TILE)


def image_steps(
    image: npt.NDArray[np.float32], pool: ThreadPoolExecutor
) -> npt.NDArray[np.float32]:
    """Return the quantisation steps of an image: a sixteenth of each tile's noise.

    Tiles that are empty but for fill values take the median of the others; 0: kept without loss.

    Parameters
    ----------
    image
        float32 (ny, nx).
    pool
        Threads to work in.

    Returns
    -------
    steps
        float32, one a tile, row by row of tiles.
    """
    noise = _of_tiles(image, _noise, pool)
    good = noise > 0.0
    typical = float(np.median(noise[good])) if good.any() else 0.0
    # The C interfaces hold the scale in single precision.
    return np.asarray(np.where(good, noise, typical) / LEVEL, np.float32)


def variance_steps(
    variance: npt.NDArray[np.float32], pool: ThreadPoolExecutor
) -> npt.NDArray[np.float32]:
    """Return the quantisation steps of a variance: a part of the median, the tile's or the plane's.

    The lesser of the two, so that what lies around a bright source is not coded by its variance.
    Parameters and result are those of `image_steps`.
    """
    medians = _of_tiles(variance, _median, pool)
    good = medians > 0.0
    typical = float(np.median(medians[good])) if good.any() else 0.0
    steps = np.where(good, np.minimum(medians, typical), typical) / VARIANCE_LEVEL
    return np.asarray(steps, np.float32)


def _of_tiles(
    plane: npt.NDArray[np.float32], measure: Callable[..., float], pool: ThreadPoolExecutor
) -> npt.NDArray[np.float64]:
    def measured(index: int) -> float:
        tile = tile_of(plane, index)
        ny, nx = tile.shape
        # Every 16th row of a whole tile, all of a narrow one.
        step = max(1, tile.size // _SAMPLE)
        return measure(tile, step, np.empty(-(-ny // step) * nx, np.float32))

    return np.array(list(pool.map(measured, range(n_tiles(plane)))))
