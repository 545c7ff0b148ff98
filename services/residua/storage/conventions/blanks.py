"""Pixels that hold no sky although they hold a number: fill values, and stars cut off flat.

Resampling and stacking programs fill what they do not cover with one value (0, -32768, -1e30),
which stands in connected areas of pixels that are exactly alike; noise never does that.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["Blanks", "find_blanks"]

_SMALLEST_AREA = 25
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
    areas = _areas(image, finite)
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
        far = finite & (image < level - _FAR * sigma) & ~no_data
        if far.any():
            notes.append(f"{int(far.sum())} pixels below {level - _FAR * sigma:.3g}: no data")
            no_data |= far
        saturated |= _ceiling(image, finite & ~no_data, level + _PLATEAU_SIGMA * sigma, notes)
    return Blanks(no_data, saturated, tuple(notes))


def _areas(
    image: npt.NDArray[np.floating], finite: npt.NDArray[np.bool_]
) -> list[tuple[float, npt.NDArray[np.bool_]]]:
    if min(image.shape) < 3:
        return []
    across = image[:, 1:] == image[:, :-1]
    along = image[1:, :] == image[:-1, :]
    # Squares of 2 x 2 alike, then of 3 x 3.
    two = across[1:, :] & across[:-1, :] & along[:, 1:]
    three = two[1:, 1:] & two[1:, :-1] & two[:-1, 1:] & two[:-1, :-1]
    three &= finite[1:-1, 1:-1]
    if not three.any():
        return []
    values, counts = np.unique(image[1:-1, 1:-1][three], return_counts=True)
    if values.size > _MOST_VALUES:
        # Coarsely quantised pixels are alike by chance, at every level of the sky.
        order = np.argsort(counts)[::-1][:_MOST_VALUES]
        values, counts = values[order], counts[order]
        values = values[counts > 0.001 * image.size]
    found = []
    for value in values:
        labels, n = ndimage.label(image == value)
        sizes = np.bincount(labels.ravel(), minlength=n + 1)
        sizes[0] = 0
        large = sizes >= _SMALLEST_AREA
        if large.any():
            found.append((float(value), large[labels]))
    return found


def _ceiling(
    image: npt.NDArray[np.floating],
    usable: npt.NDArray[np.bool_],
    threshold: float,
    notes: list[str],
) -> npt.NDArray[np.bool_]:
    # Several pixels at exactly the largest value: that is where the image ends.
    top = float(image[usable].max()) if usable.any() else threshold
    at_top = usable & (image == top)
    count = int(at_top.sum())
    if top <= threshold or count < _PLATEAU:
        return np.zeros(image.shape, np.bool_)
    notes.append(f"{count} pixels at exactly {top:g}, the largest value: saturated")
    return at_top
