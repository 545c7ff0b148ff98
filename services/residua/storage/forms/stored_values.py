"""What a quantised plane holds of a value: for parts of images that were never stored.

A pixel's code depends on its value, its tile's step and zero point, and its place in the tile. With
the steps and zero points of the whole, a part gets the bits that reading the stored plane gives.
"""

import numba
import numpy as np
import numpy.typing as npt

from residua.storage.forms.quantise import DITHER_SEED, DITHER_TABLE, TILE

__all__ = ["stored_values"]

_CYCLE = 10000


def stored_values(
    part: npt.NDArray[np.float32],
    start: tuple[int, int],
    shape: tuple[int, int],
    steps: npt.NDArray[np.floating],
    zeros: npt.NDArray[np.floating],
) -> npt.NDArray[np.float32]:
    """Return the values that a file written by `compress_quantised` holds for a part of a plane.

    Parameters
    ----------
    part
        float32 (ny, nx), the exact values.
    start
        Row and column of the whole plane at which the part begins.
    shape
        Of the whole plane.
    steps, zeros
        ``ZSCALE`` and ``ZZERO`` of the whole plane's tiles; step 0: kept without loss.

    Returns
    -------
    values
        float32 (ny, nx).
    """
    ny, nx = part.shape
    out = np.where(np.isinf(part), np.float32(np.nan), part).astype(np.float32)
    across = -(-shape[1] // TILE)
    for down in range(start[0] // TILE, (start[0] + ny - 1) // TILE + 1):
        for right in range(start[1] // TILE, (start[1] + nx - 1) // TILE + 1):
            number = down * across + right
            step = float(steps[number])
            if step == 0.0:
                continue
            y0, x0 = down * TILE, right * TILE
            rows = slice(max(y0, start[0]), min(y0 + TILE, start[0] + ny))
            columns = slice(max(x0, start[1]), min(x0 + TILE, start[1] + nx))
            place = np.s_[
                rows.start - start[0] : rows.stop - start[0],
                columns.start - start[1] : columns.stop - start[1],
            ]
            _store(
                out[place],
                rows.start - y0,
                columns.start - x0,
                min(TILE, shape[1] - x0),
                step,
                float(zeros[number]),
                (number + DITHER_SEED - 1) % _CYCLE,
                DITHER_TABLE,
            )
    return out


@numba.njit(nogil=True, cache=True)
def _store(
    values: npt.NDArray[np.float32],
    row: int,
    column: int,
    width: int,
    step: float,
    zero: float,
    first: int,
    dither: npt.NDArray[np.float32],
) -> None:
    # The standard's walk through its table of random numbers: from a place that the seed tells to
    # the end, then from that of the next seed. Here it is entered anew for every row of the part.
    ny, nx = values.shape
    for j in range(ny):
        left = (row + j) * width + column
        seed = first
        k = int(dither[seed] * 500.0)
        while left >= 10000 - k:
            left -= 10000 - k
            seed = seed + 1 if seed < 9999 else 0
            k = int(dither[seed] * 500.0)
        k += left
        for i in range(nx):
            v = values[j, i]
            if np.isfinite(v) and v != 0.0:
                q = (float(v) - zero) / step + float(dither[k]) - 0.5
                code = int(q + 0.5) if q >= 0.0 else int(q - 0.5)
                values[j, i] = (float(code) - float(dither[k]) + 0.5) * step + zero
            k += 1
            if k == 10000:
                seed = seed + 1 if seed < 9999 else 0
                k = int(dither[seed] * 500.0)
