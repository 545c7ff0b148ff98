"""Pixels into which the matching kernel carries flux of flagged pixels.

A saturated or missing template pixel has the wrong flux; the kernel spreads that into its
neighbourhood. Where what it spreads could exceed a fraction of the noise, the difference
must not be trusted.
"""

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.engine.filter_tables import VaryingKernel
from residua.subtraction.engine.threads import run_strips
from residua.subtraction.engine.window import Window, whole
from residua.subtraction.images import ConvolvedImage, FloatPlane, MaskPlane

__all__ = ["flagged_pixels", "mark_leak"]

_CELL = 128
"""The kernel's absolute value is held constant on cells of this side, pixels."""
_LIMIT = {"template": 0.3, "science": 0.1}
_GROWTH = {"template": 0, "science": 2}
_PIECE = 64


def mark_leak(
    image: FloatPlane,
    mask: MaskPlane,
    bits: int,
    kernel: VaryingKernel,
    variance: FloatPlane,
    out: MaskPlane,
    add: int,
    *,
    convolved: ConvolvedImage = "template",
    window: Window | None = None,
    threads: int = 1,
) -> None:
    """Mark pixels with ``|K| x (|image| flagged) > q sqrt(variance)``.

    ``q`` is 0.3 when the template was convolved, 0.1 (and the mask grown by 2 px) when the
    science image was: deconvolution amplifies what leaks.

    Parameters
    ----------
    image
        float32 (ny, nx): the image that is convolved (warped template, or science).
    mask, bits
        int32 (ny, nx), and the bits of its pixels with wrong flux: saturated, bad, edge,
        no data.
    kernel
        The matching kernel.
    variance
        float32 (ny, nx): variance of the difference before decorrelation; near enough is
        the variance of the image that was not convolved.
    out, add
        int32 (ny, nx), changed, and the bits to set there; not ``mask``.
    convolved
        Which image was convolved.
    window
        Which part of the kernel's image the planes are; default the whole.
    threads
        Threads to use; the result does not depend on it.
    """
    ny, nx = image.shape
    window = window or whole((ny, nx))
    numbers, stamps = _absolute_stamps(mask, np.int32(bits), kernel, window)
    half = kernel.half_width
    limit, growth = np.float32(_LIMIT[convolved]), _GROWTH[convolved]

    def strip(first: int, end: int) -> None:
        lower, upper = max(first - half - growth, 0), min(end + half + growth, ny)
        rows, columns = flagged_pixels(mask[lower:upper], np.int32(bits))
        if rows.size:
            _leak_strip(
                image, rows + lower, columns, stamps, numbers, window.y0 % _CELL,
                window.x0 % _CELL, variance, limit, growth, first, out[first:end], np.int32(add),
            )  # fmt: skip

    run_strips(strip, ny, threads=threads)


def _absolute_stamps(
    mask: MaskPlane, bits: np.int32, kernel: VaryingKernel, window: Window
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Absolute kernels of the cells that hold flagged pixels, and each cell's number."""
    above, before = window.y0 % _CELL, window.x0 % _CELL
    cells = [-(-(n + m) // _CELL) for n, m in zip(mask.shape, (above, before), strict=True)]
    numbers = np.zeros(cells, np.int64)
    _mark_cells(mask, bits, above, before, numbers)
    rows, columns = np.nonzero(numbers)
    numbers[rows, columns] = np.arange(rows.size)
    y, x = (
        (v + n // _CELL) * float(_CELL) + 0.5 * (_CELL - 1)
        for v, n in ((rows, window.y0), (columns, window.x0))
    )
    tables = kernel.tables
    size = tables.vertical.shape[1]
    stamps = np.empty((rows.size, size, size), np.float32)
    weights = kernel.polynomial.terms(x, y)
    _sum_tables(tables.vertical.copy(), tables.horizontal.copy(), weights, stamps)
    return numbers, stamps


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _mark_cells(
    mask: MaskPlane, bits: np.int32, above: int, before: int, numbers: npt.NDArray[np.int64]
) -> None:
    for y in range(mask.shape[0]):
        start = 0
        for column in range(numbers.shape[1]):
            end = min((column + 1) * _CELL - before, mask.shape[1])
            found = np.int32(0)
            piece = mask[y, start:end]
            for k in range(piece.size):
                found |= piece[k] & bits
            if found != 0:
                numbers[(y + above) // _CELL, column] = 1
            start = end


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _sum_tables(
    vertical: npt.NDArray[np.float32],
    horizontal: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float64],
    out: npt.NDArray[np.float32],
) -> None:
    """``abs(sum_i vertical_i taps_i)``, turned from correlation to convolution; in order."""
    n_functions, size = vertical.shape
    taps, total = np.empty((n_functions, size)), np.empty((size, size))
    for cell in range(out.shape[0]):
        taps[:] = 0.0
        for t in range(weights.shape[1]):
            for i in range(n_functions):
                for x in range(size):
                    taps[i, x] += weights[cell, t] * horizontal[t, i, x]
        total[:] = 0.0
        for i in range(n_functions):
            for y in range(size):
                for x in range(size):
                    total[y, x] += vertical[i, y] * taps[i, x]
        for y in range(size):
            for x in range(size):
                out[cell, y, x] = abs(total[size - 1 - y, size - 1 - x])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def flagged_pixels(
    mask: MaskPlane, bits: np.int32
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Find the rows and columns of the pixels with any of the bits."""
    n = 0
    for y in range(mask.shape[0]):
        row = mask[y]
        for x in range(row.size):
            n += (row[x] & bits) != 0
    rows, columns = np.empty(n, np.int32), np.empty(n, np.int32)
    n = 0
    for y in range(mask.shape[0]):
        for start in range(0, mask.shape[1], _PIECE):
            # Most pieces have none: find that out with vector instructions.
            piece = mask[y, start : start + _PIECE]
            any_bits = np.int32(0)
            for k in range(piece.size):
                any_bits |= piece[k] & bits
            if any_bits == 0:
                continue
            for k in range(piece.size):
                if (piece[k] & bits) != 0:
                    rows[n], columns[n] = y, start + k
                    n += 1
    return rows, columns


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _leak_strip(
    image: FloatPlane,
    rows: npt.NDArray[np.int32],
    columns: npt.NDArray[np.int32],
    stamps: npt.NDArray[np.float32],
    numbers: npt.NDArray[np.int64],
    above: int,
    before: int,
    variance: FloatPlane,
    limit: np.float32,
    growth: int,
    first: int,
    out: MaskPlane,
    add: np.int32,
) -> None:
    ny, nx = image.shape
    size = stamps.shape[2]
    half = size // 2
    # The strip and what grows into it; everything else follows from the flagged pixels.
    n_rows = out.shape[0] + 2 * growth
    top = first - growth
    spread = np.zeros((n_rows, nx + 2 * half), np.float32)
    for n in range(rows.size):
        y, x = rows[n], columns[n]
        flux = np.abs(image[y, x])
        if not (flux > np.float32(0.0)) or flux == np.float32(np.inf):
            continue
        stamp = stamps[numbers[(y + above) // _CELL, (x + before) // _CELL]]
        for k in range(max(0, top - y + half), min(size, top + n_rows - y + half)):
            target = spread[y + k - half - top, x : x + size]
            taps = stamp[k]
            for i in range(size):
                target[i] += flux * taps[i]
    for r in range(n_rows):
        y = top + r
        if y < 0 or y >= ny:
            continue
        row = spread[r, half : half + nx]
        for x in range(nx):
            v = variance[y, x]
            # Written so that a variance that is not a number masks whatever leaks there.
            if row[x] > np.float32(0.0) and not (row[x] * row[x] <= limit * limit * v):
                for k in range(max(0, r - 2 * growth), min(out.shape[0], r + 1)):
                    for i in range(max(0, x - growth), min(nx, x + growth + 1)):
                        out[k, i] |= add
