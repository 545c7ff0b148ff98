"""Pixels that hold no sky although they hold a number: fill values, and stars cut off flat.

Resampling and stacking programs fill what they do not cover with one value (0, -32768, -1e30),
which stands in connected areas of pixels that are exactly alike; noise never does that.
"""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["Blanks", "find_blanks"]

_FEWEST_SQUARES = 9
"""Squares of 3 x 3 pixels alike that must hang together: an area of 5 x 5 has as many."""
_COARSE = 0.5
"""Share of the other pixels with the same value from which on areas of it are chance."""
_RAGGED = 0.02
_MOST_VALUES = 32
_FAR = 1e4
_BRIGHT = 5.0
_PLATEAU = 5
_PLATEAU_SIGMA = 20.0


@dataclass(frozen=True)
class Blanks:
    """What was found.

    Parameters
    ----------
    no_data
        bool (ny, nx), pixels that hold a fill value.
    saturated
        bool (ny, nx), pixels at the ceiling of the image.
    notes
        What was found, in words.
    """

    no_data: npt.NDArray[np.bool_]
    saturated: npt.NDArray[np.bool_]
    notes: tuple[str, ...] = ()


def find_blanks(image: npt.NDArray[np.floating], finite: npt.NDArray[np.bool_]) -> Blanks:
    """Find fill values and flat-topped stars.

    Parameters
    ----------
    image
        float (ny, nx), as in the file.
    finite
        bool (ny, nx), pixels that are numbers.
    """
    no_data = np.zeros(image.shape, np.bool_)
    saturated = np.zeros(image.shape, np.bool_)
    if not finite.any():
        return Blanks(no_data, saturated)
    sample = image[::7, ::5][finite[::7, ::5]].astype(np.float64)
    sample = sample if sample.size > 100 else image[finite].astype(np.float64)
    notes: list[str] = []
    areas = _areas(image)
    free = sample[~np.isin(sample, [value for value, _ in areas])]
    # Where nearly everything is one value, that value is no sky either.
    sky = free if free.size > 0.02 * sample.size else sample
    level = float(np.median(sky))
    sigma = 1.4826 * float(np.median(np.abs(sky - level)))
    for value, pixels in areas:
        if value > level + _BRIGHT * sigma and sigma > 0.0:
            saturated |= pixels
            continue
        no_data |= pixels
        notes.append(f"{int(pixels.sum())} pixels in areas of exactly {value:g}: no data")
    if sigma > 0.0:
        far = image < level - _FAR * sigma
        far &= finite
        far &= ~no_data
        if far.any():
            notes.append(f"{int(far.sum())} pixels below {level - _FAR * sigma:.3g}: no data")
            no_data |= far
        saturated |= _ceiling(image, finite & ~no_data, level + _PLATEAU_SIGMA * sigma, notes)
    return Blanks(no_data, saturated, tuple(notes))


def _areas(image: npt.NDArray[np.floating]) -> list[tuple[float, npt.NDArray[np.bool_]]]:
    if min(image.shape) < 3:
        return []
    squares = np.zeros(image.shape, np.bool_)
    if _mark_squares(image, squares) == 0:
        return []
    values, counts = np.unique(image[squares], return_counts=True)
    values, counts = (v[counts >= _FEWEST_SQUARES] for v in (values, counts))
    # The commonest first: coarsely quantised pixels are alike by chance at many levels.
    values = values[np.argsort(counts)[::-1][:_MOST_VALUES]]
    found = []
    for value in values:
        pixels = _area_of(image, squares, value)
        if pixels is not None:
            found.append((float(value), pixels))
    return found


def _area_of(
    image: npt.NDArray[np.floating], squares: npt.NDArray[np.bool_], value: np.floating
) -> npt.NDArray[np.bool_] | None:
    # The connected areas of one value, thick enough that chance did not make them.
    alike = image == value
    labels, n = ndimage.label(squares & alike, structure=np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=n + 1)
    sizes[0] = 0
    large = sizes >= _FEWEST_SQUARES
    if not large.any():
        return None
    core = ndimage.binary_dilation(large[labels], structure=np.ones((3, 3), np.bool_))
    others = ~core
    share = int((alike & others).sum()) / max(1, int(others.sum()))
    if share > _COARSE:
        return None
    if share > _RAGGED:
        return np.asarray(core)
    # A fill value is nowhere else by chance: the ragged rim of its areas belongs to them.
    return np.asarray(ndimage.binary_propagation(core, mask=alike))


@numba.njit(nogil=True, cache=True)
def _mark_squares(image: npt.NDArray[np.floating], squares: npt.NDArray[np.bool_]) -> int:
    # Centres of 3 x 3 pixels that are exactly alike, and finite; most pixels fail at once.
    count = 0
    ny, nx = image.shape
    for j in range(1, ny - 1):
        for i in range(1, nx - 1):
            value = image[j, i]
            if image[j, i + 1] != value or image[j, i - 1] != value or not np.isfinite(value):
                continue
            alike = True
            for k in range(i - 1, i + 2):
                alike = alike and image[j - 1, k] == value and image[j + 1, k] == value
            if alike:
                squares[j, i] = True
                count += 1
    return count


def _ceiling(
    image: npt.NDArray[np.floating],
    usable: npt.NDArray[np.bool_],
    threshold: float,
    notes: list[str],
) -> npt.NDArray[np.bool_]:
    # Several pixels at exactly the largest value: that is where the image ends.
    top, count = _top(image, usable)
    if not top > threshold or count < _PLATEAU:
        return np.zeros(image.shape, np.bool_)
    at_top = usable & (image == top)
    notes.append(f"{count} pixels at exactly {top:g}, the largest value: saturated")
    return at_top


@numba.njit(nogil=True, cache=True)
def _top(image: npt.NDArray[np.floating], usable: npt.NDArray[np.bool_]) -> tuple[float, int]:
    # The largest value, and how many pixels have it.
    top, count = -np.inf, 0
    ny, nx = image.shape
    for j in range(ny):
        for i in range(nx):
            value = image[j, i]
            if not usable[j, i] or value < top:
                continue
            if value > top:
                top, count = value, 0
            count += 1
    return top, count
