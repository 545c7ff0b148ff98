"""The offset between two lists of stars whose common stars are not known: a vote of all pairs."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["BulkOffset", "match_offset"]

type Array = npt.NDArray[np.float64]

_REACH = 40.0
"""Largest offset sought, pixels."""
_BIN = 2.0
_LEAST_RATIO = 5.0
_LEAST_PAIRS = 6
_TOLERANCES = (6.0, 2.0, 1.0)
_AFFINE_PAIRS = 12
_AFFINE_TOLERANCES = (8.0, 4.0, 2.0)
_AFFINE_NEEDED = 0.5
"""Median distance of matched pairs, pixels, beyond which an offset alone will not do."""


@dataclass(frozen=True)
class BulkOffset:
    """How to get from one list to the other: ``there = here + shift(here)``.

    Parameters
    ----------
    coefficients
        float64 (3, 2): constant, change with x and change with y of the shift (x, y), pixels.
    pairs
        Number of matched pairs; 0 when no offset was found.
    """

    coefficients: Array
    pairs: int

    def at(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Shift (x, y) at positions, pixels."""
        c = self.coefficients
        return (
            c[0, 0] + c[1, 0] * x + c[2, 0] * y,
            c[0, 1] + c[1, 1] * x + c[2, 1] * y,
        )


def match_offset(here: Array, there: Array) -> BulkOffset:
    """Find the common offset of two lists of positions, up to 40 px, and a small rotation.

    All differences within reach vote in bins of 2 px; the offset counts when its bin has five
    times the votes of any other place and at least six pairs. A linear change over the image
    is fitted where the offset leaves the pairs more than half a pixel apart.

    Parameters
    ----------
    here, there
        float64 (n, 2) and (m, 2): x, y of the brightest stars, pixels.

    Returns
    -------
    BulkOffset
        All zeros when there is no clear answer.
    """
    none = BulkOffset(np.zeros((3, 2)), 0)
    if len(here) < _LEAST_PAIRS or len(there) < _LEAST_PAIRS:
        return none
    difference = there[None, :, :] - here[:, None, :]
    first, second = np.nonzero(np.all(np.abs(difference) <= _REACH, axis=2))
    pairs = difference[first, second]
    bins = int(2 * _REACH / _BIN)
    limits = [(-_REACH, _REACH)] * 2
    votes, _, _ = np.histogram2d(pairs[:, 0], pairs[:, 1], bins=bins, range=limits)
    padded = np.pad(votes, 1)
    boxes = sum(padded[i : i + bins, j : j + bins] for i in range(3) for j in range(3))
    boxes = np.asarray(boxes)
    i, j = np.unravel_index(int(np.argmax(boxes)), boxes.shape)
    peak = float(boxes[i, j])
    rest = boxes.copy()
    rest[max(i - 3, 0) : i + 4, max(j - 3, 0) : j + 4] = 0.0
    if peak < _LEAST_PAIRS or peak < _LEAST_RATIO * float(rest.max()):
        return none
    offset = -_REACH + _BIN * (np.array([i, j]) + 0.5)
    for tolerance in _TOLERANCES:
        near = np.all(np.abs(pairs - offset) <= tolerance, axis=1)
        if near.sum() >= _LEAST_PAIRS:
            offset = np.median(pairs[near], axis=0)
    coefficients = np.zeros((3, 2))
    coefficients[0] = offset
    near = np.all(np.abs(pairs - offset) <= _AFFINE_TOLERANCES[0], axis=1)
    apart = _median_distance(pairs[near] - offset)
    if near.sum() >= _AFFINE_PAIRS and apart > _AFFINE_NEEDED:
        affine = _affine(here[first], pairs, coefficients)
        terms = np.column_stack([np.ones(len(first)), here[first]])
        if _median_distance((pairs - terms @ affine)[near]) < 0.7 * apart:
            coefficients = affine
    return BulkOffset(coefficients, int(near.sum()))


def _median_distance(differences: Array) -> float:
    return float(np.median(np.hypot(differences[:, 0], differences[:, 1])))


def _affine(positions: Array, pairs: Array, start: Array) -> Array:
    """Fit the pairs' differences linearly in position, with ever closer pairs."""
    terms = np.column_stack([np.ones(len(positions)), positions])
    coefficients = start
    for tolerance in _AFFINE_TOLERANCES:
        for _ in range(3):
            near = np.all(np.abs(pairs - terms @ coefficients) <= tolerance, axis=1)
            if near.sum() < _AFFINE_PAIRS:
                return coefficients
            coefficients = np.linalg.lstsq(terms[near], pairs[near], rcond=None)[0]
    return np.asarray(coefficients)
