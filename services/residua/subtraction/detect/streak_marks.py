"""Trails, and where they are masked: the same for a first run and for a part made again."""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.images import MaskPlane
from residua.subtraction.masks import MaskBit

__all__ = ["PIECE", "Streak", "mark_streaks", "streak_marks"]

type BoolPlane = npt.NDArray[np.bool_]
type Array = npt.NDArray[np.float64]

PIECE = 64.0
"""Length in which a trail is followed, and by which it is masked beyond its ends, pixels."""


@dataclass(frozen=True)
class Streak:
    """A straight trail.

    Parameters
    ----------
    x0, y0, x1, y1
        Its ends, pixels.
    half_width
        Pixels to each side that it lights.
    signal_to_noise
        Of the whole line.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    half_width: float
    signal_to_noise: float


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _mark(
    mask: MaskPlane,
    good: BoolPlane,
    bit: np.int32,
    mark: npt.NDArray[np.float64],
    top: int,
    left: int,
) -> None:
    ny, nx = mask.shape
    x0, y0, ux, uy, length, half_width = mark
    for r in range(ny):
        for c in range(nx):
            y, x = r + top, c + left
            along = (x - x0) * ux + (y - y0) * uy
            if along < -half_width or along > length + half_width:
                continue
            if abs((y - y0) * ux - (x - x0) * uy) <= half_width:
                mask[r, c] |= bit
                good[r, c] = False


def streak_marks(streaks: tuple[Streak, ...]) -> Array:
    """Where trails are masked, a piece beyond their ends.

    Returns
    -------
    numpy.ndarray
        float64 (n, 6): start x, y, direction x, y (of length 1), length, half width, pixels.
    """
    marks = np.empty((len(streaks), 6))
    for k, s in enumerate(streaks):
        length = float(np.hypot(s.x1 - s.x0, s.y1 - s.y0))
        ux, uy = (s.x1 - s.x0) / length, (s.y1 - s.y0) / length
        start = s.x0 - ux * PIECE, s.y0 - uy * PIECE
        marks[k] = *start, ux, uy, length + 2.0 * PIECE, s.half_width
    return marks


def mark_streaks(
    mask: MaskPlane, good: BoolPlane, marks: Array, *, y0: int = 0, x0: int = 0
) -> None:
    """Set ``STREAK`` on trails, and take them out of ``good``.

    Parameters
    ----------
    mask
        int32 (ny, nx), changed.
    good
        bool (ny, nx), changed.
    marks
        From `streak_marks`.
    y0, x0
        Pixel of the image at which the plane begins.
    """
    for mark in np.array(marks):
        _mark(mask, good, np.int32(MaskBit.STREAK), mark, y0, x0)
