"""Fill pixels of wrong flux before a convolution, so that they spoil less around them.

A bleed trail or a cosmic ray holds flux that is not in the sky; the matching kernel would
carry it many pixels out, beyond any mask. Interpolated across its short side, the pixel holds
about what the sky has there. The cores of saturated stars are left alone: too faint as they
are, they would be fainter still; the leak mask covers their surroundings.
"""

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.engine.threads import run_strips
from residua.subtraction.images import FloatPlane, MaskPlane

__all__ = ["fill_flagged", "undecided"]

_LONGEST = 100
_ENDS = 2
_CORE_FRACTION = 0.03
"""Where the rims are brighter than this fraction of the pixel, it belongs to a star's core."""


def fill_flagged(
    image: FloatPlane, mask: MaskPlane, bits: int, *, cores: bool = False, threads: int = 1
) -> None:
    """Replace flagged pixels, in place, by linear interpolation along the row or the column.

    The direction with the shorter gap is taken; each end is the mean of two good pixels. A gap
    that is open on one side takes the value of the other; gaps longer than 100 px on both
    sides become 0. Pixels whose replacement is not far fainter belong to the core of a star
    and stay.

    Parameters
    ----------
    image
        float32 (ny, nx), finite, background-subtracted; changed.
    mask
        int32 (ny, nx).
    bits
        Mask bits of the pixels to fill.
    cores
        Fill pixels in cores of stars too.
    threads
        Threads to use; only unflagged pixels are read, so the result does not depend on it.
    """

    def strip(first: int, end: int) -> None:
        _fill(image, mask, np.int32(bits), cores, first, end)

    run_strips(strip, image.shape[0], threads=threads)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _end(
    image: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    bits: np.int32,
    y: int,
    x: int,
    dy: int,
    dx: int,
) -> tuple[int, float]:
    """Count the steps to the next good pixel (0: none); also the mean of the pixels there."""
    ny, nx = image.shape
    for step in range(1, _LONGEST + 1):
        b, a = y + step * dy, x + step * dx
        if b < 0 or b >= ny or a < 0 or a >= nx:
            return 0, 0.0
        if (mask[b, a] & bits) == 0:
            total, count = 0.0, 0
            for k in range(_ENDS):
                d, c = b + k * dy, a + k * dx
                if d < 0 or d >= ny or c < 0 or c >= nx or (mask[d, c] & bits) != 0:
                    break
                total += image[d, c]
                count += 1
            return step, total / count
    return 0, 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _fill(
    image: npt.NDArray[np.float32],
    mask: npt.NDArray[np.int32],
    bits: np.int32,
    cores: bool,
    first: int,
    end: int,
) -> None:
    nx = image.shape[1]
    for y in range(first, end):
        for x in range(nx):
            if (mask[y, x] & bits) == 0:
                continue
            best, value = 10 * _LONGEST, 0.0
            for dy, dx in ((0, 1), (1, 0)):
                n, low = _end(image, mask, bits, y, x, -dy, -dx)
                m, high = _end(image, mask, bits, y, x, dy, dx)
                # An open gap is worse than any closed one.
                span = n + m if n > 0 and m > 0 else 3 * _LONGEST + n + m
                if n + m > 0 and span < best:
                    best = span
                    if n > 0 and m > 0:
                        value = (low * m + high * n) / (n + m)
                    else:
                        value = low if n > 0 else high
            if cores or abs(value) < _CORE_FRACTION * abs(image[y, x]) or image[y, x] < 0.0:
                image[y, x] = value


def undecided(
    mask: MaskPlane,
    bits: int,
    area: tuple[int, int, int, int],
    ends: tuple[bool, bool, bool, bool],
    guard: int,
) -> tuple[bool, bool, bool, bool]:
    """Tell in which directions a part of an image is too small to fill its flagged pixels.

    Most gaps end inside it. Of the others, most are wider than the gap across, which decides.

    Parameters
    ----------
    mask
        int32 (ny, nx), of the part.
    bits
        Mask bits of the pixels to fill, or more of them.
    area
        First row, end row, first column and end column of the pixels that matter.
    ends
        Whether the part ends where the image does: above its first row, below its last one, left
        of its first column, right of its last one.
    guard
        Rows and columns along the other ends whose flags may be wrong.

    Returns
    -------
    tuple
        Whether `fill_flagged` would need rows above, rows below, columns to the left, to the right.
    """
    ny, nx = mask.shape
    top, bottom, left, right = (0 if end else guard for end in ends)
    inner = np.array([top, ny - bottom, left, nx - right], np.int64)
    found = _undecided(mask, np.int32(bits), np.array(area, np.int64), inner, np.array(ends))
    return bool(found[0]), bool(found[1]), bool(found[2]), bool(found[3])


@numba.njit(nogil=True, cache=True)
def _reached(
    mask: npt.NDArray[np.int32],
    bits: np.int32,
    y: int,
    x: int,
    dy: int,
    dx: int,
    inner: npt.NDArray[np.int64],
    at_end: bool,
) -> tuple[int, bool]:
    """Count the steps to the next good pixel as `_end` does; also whether that is certain.

    Where it is not, the steps are the least it can be.
    """
    for step in range(1, _LONGEST + 1):
        b, a = y + step * dy, x + step * dx
        if _outside(b, a, dy, inner):
            return (0, True) if at_end else (step, False)
        if (mask[b, a] & bits) == 0:
            return step, at_end or not _outside(b + dy, a + dx, dy, inner)
    return 0, True


@numba.njit(nogil=True, cache=True)
def _outside(y: int, x: int, dy: int, inner: npt.NDArray[np.int64]) -> bool:
    if dy != 0:
        return bool(y < inner[0] or y >= inner[1])
    return bool(x < inner[2] or x >= inner[3])


@numba.njit(nogil=True, cache=True)
def _undecided(
    mask: npt.NDArray[np.int32],
    bits: np.int32,
    area: npt.NDArray[np.int64],
    inner: npt.NDArray[np.int64],
    ends: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    found = np.zeros(4, np.bool_)
    for y in range(area[0], area[1]):
        for x in range(area[2], area[3]):
            if (mask[y, x] & bits) == 0:
                continue
            n, up = _reached(mask, bits, y, x, -1, 0, inner, ends[0])
            m, down = _reached(mask, bits, y, x, 1, 0, inner, ends[1])
            k, low = _reached(mask, bits, y, x, 0, -1, inner, ends[2])
            j, high = _reached(mask, bits, y, x, 0, 1, inner, ends[3])
            tall = n + m if (n > 0 and m > 0) or not (up and down) else 3 * _LONGEST + n + m
            wide = k + j if (k > 0 and j > 0) or not (low and high) else 3 * _LONGEST + k + j
            if up and down and low and high:
                continue
            # The row is looked at first, and the column has to be shorter.
            if low and high and tall >= wide and k + j > 0:
                continue
            if up and down and tall < wide and n + m > 0:
                continue
            found[0] |= not up
            found[1] |= not down
            found[2] |= not low
            found[3] |= not high
    return found
