"""Sums along all lines of an image: the fast discrete Radon transform (Brady 1998)."""

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["ORIENTATIONS", "line_pixels", "line_sums", "oriented"]

type Plane = npt.NDArray[np.float32]

ORIENTATIONS = range(4)
"""Lines that rise or fall by at most one pixel a column; then the same for rows."""


def oriented(plane: Plane, orientation: int) -> Plane:
    """Flip and turn a square plane so that the orientation's lines rise by 0 to 1 a column."""
    turned = plane.T if orientation >= 2 else plane
    return np.ascontiguousarray(turned[::-1] if orientation % 2 else turned)


def line_pixels(
    n: int, orientation: int, start: int, rise: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows and columns, in the plane itself, of a line of `line_sums`; those outside left out.

    Parameters
    ----------
    n
        Side of the plane.
    orientation
        As in `oriented`.
    start, rise
        Row in column 0, and rows to the last column, in the oriented plane.
    """
    columns = np.arange(n)
    rows = start + np.rint(rise * columns / max(n - 1, 1)).astype(np.int64)
    inside = (rows >= 0) & (rows < n)
    rows, columns = rows[inside], columns[inside]
    if orientation % 2:
        rows = n - 1 - rows
    return (columns, rows) if orientation >= 2 else (rows, columns)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def line_sums(plane: Plane) -> Plane:
    """Sum a square plane along all lines that rise by 0 to n - 1 rows over its n columns.

    Two halves of a strip are joined at a time, so that all lines together cost n^2 log n.

    Parameters
    ----------
    plane
        float32 (n, n), n a power of two.

    Returns
    -------
    numpy.ndarray
        float32 (n, 2 n): sum by rise, and by row in column 0 plus n.
    """
    n = plane.shape[0]
    height = 2 * n
    now = np.zeros((n, 1, height), np.float32)
    for column in range(n):
        for row in range(n):
            now[column, 0, row + n] = plane[row, column]
    other = np.empty(n * height, np.float32)
    width = 1
    while width < n:
        joined = other.reshape(n // (2 * width), 2 * width, height)
        for strip in range(joined.shape[0]):
            for rise in range(2 * width):
                half = rise // 2
                step = rise - half
                left, right = now[2 * strip, half], now[2 * strip + 1, half]
                target = joined[strip, rise]
                for row in range(height - step):
                    target[row] = left[row] + right[row + step]
                for row in range(height - step, height):
                    target[row] = left[row]
        now, other = joined, now.reshape(-1)
        width *= 2
    return now[0]
