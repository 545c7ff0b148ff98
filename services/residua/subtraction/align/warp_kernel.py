"""Compiled kernel of the warp: one row of 64 x 64 px tiles from one template patch."""

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.align.lanczos_simd import WEIGHTS_PER_PIXEL, lanczos3_row
from residua.subtraction.masks import MaskBit

__all__ = ["TILE", "warp_tiles"]

TILE = 64
"""Side of a tile, science pixels; the steps of `PixelMap` divide it."""
_NO_DATA = np.int32(MaskBit.NO_DATA)
_INFINITY = np.int32(0x7F800000)

type Array = npt.NDArray[np.float64]
type Array32 = npt.NDArray[np.float32]
type Mask = npt.NDArray[np.int32]
type Planes = tuple[Array32, Array32, Mask]


def warp_tiles(
    template: Planes,
    extent: tuple[int, int, int, int],
    grid: tuple[Array, Array, Array],
    step: int,
    tile_row: int,
    wanted: npt.NDArray[np.bool_],
    shared: npt.NDArray[np.bool_],
    fresh: npt.NDArray[np.bool_],
    boxes: npt.NDArray[np.int64],
    bits: int,
    scratch: Planes,
    distance: Array32,
    out: Planes,
) -> npt.NDArray[np.bool_]:
    """Warp one patch onto the wanted tiles of one row of tiles.

    Parameters
    ----------
    template
        Image, variance, mask of the patch, or of a part of it that holds all boxes.
    extent
        First row and column of that part, and (ny, nx) of the whole patch.
    grid
        Template x, y and pixel area at the nodes of the pixel map: all rows, the tiles' columns.
    step
        Distance of the nodes, science pixels.
    tile_row
        Which row of tiles.
    wanted
        bool (n_tiles,).
    shared
        bool (n_tiles,): tiles that several patches overlap.
    fresh
        bool (n_tiles,): tiles into which nothing has been written; cleared here.
    boxes
        int64 (n_tiles, 4): x0, x1, y0, y1 of the template pixels that the tile needs.
    bits
        Mask planes to carry over.
    scratch
        Planes at least as large as the largest box.
    distance
        float32 (64, nx): distance from the border of the patch that a pixel came from,
        template pixels; a pixel is replaced when the new one has data and is farther from
        its border, or when the old one has none.
    out
        Image, variance, mask of the row: (n_rows, nx) with n_rows <= 64.

    Returns
    -------
    numpy.ndarray
        bool (n_tiles,): wanted tiles whose every pixel has data in this patch.
    """
    complete = np.zeros(wanted.shape, np.bool_)
    _warp_tiles(
        *template,
        template[0].view(np.int32),
        template[1].view(np.int32),
        extent,
        *grid,
        step,
        tile_row,
        wanted,
        shared,
        fresh,
        boxes,
        np.int32(bits),
        *scratch,
        distance,
        *out,
        complete,
    )
    return complete


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _copy_box(
    image: Array32,
    variance: Array32,
    mask: Mask,
    image_bits: Mask,
    variance_bits: Mask,
    extent: tuple[int, int, int, int],
    box: npt.NDArray[np.int64],
    bits: np.int32,
    part: Array32,
    part_variance: Array32,
    part_mask: Mask,
) -> np.int32:
    """Copy a box of the template, garbage replaced by 0 and ``NO_DATA``; return the OR."""
    # Positions are those of the whole patch: what lies beyond it has no data.
    top, before, ny, nx = extent
    x0, x1, y0, y1 = box
    left, right = max(x0, 0), min(x1, nx)
    any_bits = np.int32(0)
    if y0 < 0 or x0 < 0 or y1 > ny or x1 > nx:
        any_bits = _NO_DATA
    n = max(right - left, 0)
    for y in range(y0, y1):
        row, row_variance, row_mask = part[y - y0], part_variance[y - y0], part_mask[y - y0]
        if y < 0 or y >= ny or n == 0:
            row[:] = np.float32(0.0)
            row_variance[:] = np.float32(0.0)
            row_mask[:] = _NO_DATA
            continue
        shift = left - x0
        row[:shift] = np.float32(0.0)
        row_variance[:shift] = np.float32(0.0)
        row_mask[:shift] = _NO_DATA
        # Columns behind the box are read by whole vectors, with weight 0: keep them finite.
        row[shift + n :] = np.float32(0.0)
        row_variance[shift + n :] = np.float32(0.0)
        row_mask[shift + n :] = _NO_DATA
        here = slice(left - before, right - before)
        source = image[y - top, here]
        source_variance = variance[y - top, here]
        source_mask = mask[y - top, here]
        source_bits = image_bits[y - top, here]
        source_variance_bits = variance_bits[y - top, here]
        target = row[shift : shift + n]
        target_variance = row_variance[shift : shift + n]
        target_mask = row_mask[shift : shift + n]
        found = np.int32(0)
        for i in range(n):
            flags = source_mask[i] & bits
            # As integers, positive finite floats are those in 1 ... 0x7f7fffff.
            v = source_variance_bits[i]
            bad = (
                ((source_bits[i] & _INFINITY) == _INFINITY)
                | (v <= np.int32(0))
                | (v >= _INFINITY)
                | ((flags & _NO_DATA) != 0)
            )
            flags |= _NO_DATA if bad else np.int32(0)
            target[i] = np.float32(0.0) if bad else source[i]
            target_variance[i] = np.float32(0.0) if bad else source_variance[i]
            target_mask[i] = flags
            found |= flags
        any_bits |= found
    return any_bits


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _spread_mask(part_mask: Mask, n_y: int, n_x: int) -> None:
    """Replace each mask value by the OR over the 6 x 6 pixels that start at it."""
    for y in range(n_y):
        row = part_mask[y]
        for x in range(n_x - 5):
            row[x] |= row[x + 1] | row[x + 2] | row[x + 3] | row[x + 4] | row[x + 5]
    for y in range(n_y - 5):
        row = part_mask[y]
        for k in range(1, 6):
            other = part_mask[y + k]
            for x in range(n_x):
                row[x] |= other[x]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _ends(grid: Array, i: int, j: int, fraction: float) -> tuple[float, float]:
    """Values of a grid at both ends of one row of pixels of a cell."""
    a = grid[i, j] + fraction * (grid[i + 1, j] - grid[i, j])
    b = grid[i, j + 1] + fraction * (grid[i + 1, j + 1] - grid[i, j + 1])
    return a, b


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _warp_tiles(
    image: Array32,
    variance: Array32,
    mask: Mask,
    image_bits: Mask,
    variance_bits: Mask,
    extent: tuple[int, int, int, int],
    grid_x: Array,
    grid_y: Array,
    grid_area: Array,
    step: int,
    tile_row: int,
    wanted: npt.NDArray[np.bool_],
    shared: npt.NDArray[np.bool_],
    fresh: npt.NDArray[np.bool_],
    boxes: npt.NDArray[np.int64],
    bits: np.int32,
    part: Array32,
    part_variance: Array32,
    part_mask: Mask,
    distance: Array32,
    out_image: Array32,
    out_variance: Array32,
    out_mask: Mask,
    complete: npt.NDArray[np.bool_],
) -> None:
    n_rows, nx = out_image.shape
    limit_x, limit_y = np.float32(extent[3] - 1), np.float32(extent[2] - 1)
    stride = part.shape[1]
    flat, flat_variance = part.reshape(-1), part_variance.reshape(-1)
    flat_out, flat_out_variance = out_image.reshape(-1), out_variance.reshape(-1)
    weights = np.empty(TILE * WEIGHTS_PER_PIXEL, np.float32)
    xs, ys = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    values, variances = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    cells = TILE // step
    for tile in range(wanted.shape[0]):
        if not wanted[tile]:
            continue
        box = boxes[tile]
        x0, y0 = box[0], box[2]
        any_bits = _copy_box(
            image, variance, mask, image_bits, variance_bits, extent, box, bits,
            part, part_variance, part_mask,
        )  # fmt: skip
        if any_bits != 0:
            _spread_mask(part_mask, box[3] - y0, box[1] - x0)
        first_x = tile * TILE
        n = min(TILE, nx - first_x)
        # Nothing to look out for: no flag, and no other patch.
        plain = any_bits == 0 and not shared[tile]
        if plain:
            out_mask[:, first_x : first_x + n] = np.int32(0)
        elif fresh[tile]:
            out_image[:, first_x : first_x + n] = np.float32(0.0)
            out_variance[:, first_x : first_x + n] = np.float32(0.0)
            out_mask[:, first_x : first_x + n] = _NO_DATA
        fresh[tile] = False
        whole = True
        for r in range(n_rows):
            i = tile_row * cells + r // step
            fraction = (r % step) / step
            for c in range(cells):
                j = tile * cells + c
                n_c = min(step, n - c * step)
                if n_c <= 0:
                    break
                # Relative to the box, so that float32 will do.
                a, b = _ends(grid_x, i, j, fraction)
                px, dx = np.float32(a - x0), np.float32((b - a) / step)
                a, b = _ends(grid_y, i, j, fraction)
                py, dy = np.float32(a - y0), np.float32((b - a) / step)
                a, b = _ends(grid_area, i, j, fraction)
                area, area_step = np.float32(a), np.float32((b - a) / step)
                if plain:
                    lanczos3_row(
                        px, dx, py, dy, area, area_step, n_c, flat, flat_variance, stride,
                        weights, flat_out, flat_out_variance, r * nx + first_x + c * step,
                    )  # fmt: skip
                else:
                    lanczos3_row(
                        px, dx, py, dy, area, area_step, n_c, flat, flat_variance, stride,
                        weights, values, variances, c * step,
                    )  # fmt: skip
                    for k in range(n_c):
                        xs[c * step + k] = px + np.float32(k) * dx
                        ys[c * step + k] = py + np.float32(k) * dy
            if not plain:
                whole &= _merge_row(
                    values, variances, xs, ys, np.float32(x0), np.float32(y0), limit_x, limit_y,
                    part_mask, any_bits != 0,
                    distance[r, first_x : first_x + n],
                    out_image[r, first_x : first_x + n],
                    out_variance[r, first_x : first_x + n],
                    out_mask[r, first_x : first_x + n],
                )  # fmt: skip
        complete[tile] = whole


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _merge_row(
    values: Array32,
    variances: Array32,
    xs: Array32,
    ys: Array32,
    x0: np.float32,
    y0: np.float32,
    limit_x: np.float32,
    limit_y: np.float32,
    part_mask: Mask,
    flagged: bool,
    distance: Array32,
    image: Array32,
    variance: Array32,
    mask: Mask,
) -> bool:
    """Write pixels that have data and lie farther from their patch's border than what is there.

    Return whether all have data.
    """
    whole = True
    for k in range(image.size):
        flags = np.int32(0)
        if flagged:
            flags = part_mask[np.int32(ys[k]) - 2, np.int32(xs[k]) - 2]
        x, y = xs[k] + x0, ys[k] + y0
        border = min(x, limit_x - x, y, limit_y - y)
        has_data = (flags & _NO_DATA) == 0
        empty = (mask[k] & _NO_DATA) != 0
        whole &= has_data
        if has_data and (empty or border > distance[k]):
            image[k] = values[k]
            variance[k] = variances[k]
            mask[k] = flags
            distance[k] = border
        elif empty and not has_data:
            mask[k] |= flags
    return whole
