"""Spatially varying separable filters, applied strip by strip.

A filter is ``F(dy, dx; block) = sum_i vertical_i(dy) taps_i(dx; block)``: vertical functions
common to the whole image and horizontal taps that are constant on blocks of 32 x 32 px.
The taps of a block are a weighted sum of a few tap sets (polynomial terms, or the four nodes
around the block). Every matched pass of the chain (K, psi, V', S) is one such filter.

All kernels that call each other stand in this module: numba's cache does not see changes in
other files (after a change of `BLOCK` or `CHUNK` it must be cleared).
"""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.engine.nodes import BLOCK, CHUNK
from residua.subtraction.engine.simd import (
    LANES,
    TILE_COLUMNS,
    TILE_ROWS,
    add_taps,
    set_taps,
)

__all__ = [
    "SeparableFilter",
    "apply_strip",
    "padded_source",
    "padded_width",
    "padding",
]


type Array32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SeparableFilter:
    """A spatially varying filter as common vertical functions and local horizontal taps.

    Correlation form: ``out(y, x) = sum_i,k,l vertical[i, k] taps[i, l] in(y + k - h, x + l - h)``.

    Parameters
    ----------
    vertical
        float32 (n_functions, size).
    horizontal
        float32 (n_sets, n_functions, size): sets of taps.
    vertical_half, horizontal_half
        int32 (n_functions,): half widths beyond which function or taps are zero.
    weights, sets
        float32 and int32 (n_block_rows, n_block_columns, n_weights): which sets of taps make
        up those of a block, and with what weights.
    """

    vertical: Array32
    horizontal: Array32
    vertical_half: npt.NDArray[np.int32]
    horizontal_half: npt.NDArray[np.int32]
    weights: Array32
    sets: npt.NDArray[np.int32]

    @property
    def half_width(self) -> int:
        """Half width of the filter, pixels."""
        return int(self.vertical.shape[1]) // 2


def padding(half_width: int) -> int:
    """Columns to the left of the image in a padded strip: a whole number of vectors."""
    return -(-half_width // LANES) * LANES


def padded_width(nx: int, half_width: int) -> int:
    """Columns of a padded strip for an image of ``nx`` columns."""
    return -(-nx // CHUNK) * CHUNK + 2 * padding(half_width)


def padded_source(first: int, end: int, shape: tuple[int, int], half_width: int) -> Array32:
    """Make a padded strip for `apply_strip`, with zeros outside the image.

    Parameters
    ----------
    first, end
        Rows of the strip.
    shape
        (ny, nx) of the image.
    half_width
        Of the filter.

    Returns
    -------
    numpy.ndarray
        float32: rows ``first - half_width`` on. What lies inside the image is left undefined.
    """
    ny, nx = shape
    rows = -(-(end - first) // TILE_ROWS) * TILE_ROWS + 2 * half_width
    pad = padding(half_width)
    source = np.empty((rows, padded_width(nx, half_width)), np.float32)
    source[:, :pad] = 0.0
    source[:, pad + nx :] = 0.0
    source[: max(half_width - first, 0)] = 0.0
    source[min(end + half_width, ny) - first + half_width :] = 0.0
    return source


def apply_strip(filter_: SeparableFilter, source: Array32, first_row: int, out: Array32) -> None:
    """Filter one strip of rows.

    Parameters
    ----------
    filter_
        The filter.
    source
        float32, from `padded_source`: rows ``first_row - half_width`` on,
        column `padding` is the image's column 0; padded with whatever stands for "outside".
    first_row
        First row of the strip in the image: a multiple of `BLOCK`.
    out
        float32 (n_rows, nx), written.
    """
    _apply_strip(
        source,
        first_row,
        filter_.vertical,
        filter_.horizontal,
        filter_.vertical_half,
        filter_.horizontal_half,
        filter_.weights,
        filter_.sets,
        out,
    )


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _apply_strip(
    source: Array32,
    first_row: int,
    vertical: Array32,
    horizontal: Array32,
    vertical_half: npt.NDArray[np.int32],
    horizontal_half: npt.NDArray[np.int32],
    weights: Array32,
    sets: npt.NDArray[np.int32],
    out: Array32,
) -> None:
    n_rows, nx = out.shape
    n_functions, size = vertical.shape
    half = size // 2
    pad = (half + LANES - 1) // LANES * LANES
    width = source.shape[1]
    n_blocks = CHUNK // BLOCK
    n_taps = n_functions * size
    stride = CHUNK + 2 * pad
    taps = np.empty(n_blocks * n_taps, np.float32)
    middle = np.empty(TILE_ROWS * stride, np.float32)
    total = np.empty((TILE_ROWS, CHUNK), np.float32)
    sets_flat = horizontal.reshape(-1)
    for row in range(0, n_rows, BLOCK):
        block_row = (first_row + row) // BLOCK
        for x0 in range(0, nx, CHUNK):
            for b in range(n_blocks):
                block = taps[b * n_taps : (b + 1) * n_taps]
                block[:] = 0.0
                for t in range(weights.shape[2]):
                    weight = weights[block_row, x0 // BLOCK + b, t]
                    first = np.int64(sets[block_row, x0 // BLOCK + b, t]) * n_taps
                    part = sets_flat[first : first + n_taps]
                    for k in range(n_taps):
                        block[k] += weight * part[k]
            n_x = min(CHUNK, nx - x0)
            for y in range(row, min(row + BLOCK, n_rows), TILE_ROWS):
                total[:] = 0.0
                for i in range(n_functions):
                    # Whole vectors around what the horizontal taps will read.
                    half_y, half_x = np.int64(vertical_half[i]), np.int64(horizontal_half[i])
                    margin = (half_x + LANES - 1) // LANES * LANES
                    first = (y + half - half_y) * width + x0
                    for c in range(pad - margin, pad + CHUNK + margin, TILE_COLUMNS):
                        set_taps(
                            middle, c, stride,
                            source, first + c, width, width,
                            vertical, i * size + half - half_y, 2 * half_y + 1,
                        )  # fmt: skip
                    for b in range(n_blocks):
                        add_taps(
                            total, b * BLOCK, CHUNK,
                            middle, pad + b * BLOCK - half_x, stride, 1,
                            taps, b * n_taps + i * size + half - half_x, 2 * half_x + 1,
                        )  # fmt: skip
                for r in range(min(TILE_ROWS, n_rows - y)):
                    out[y + r, x0 : x0 + n_x] = total[r, :n_x]
