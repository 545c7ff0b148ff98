"""A smooth field of shifts over an image, from noisy shifts of stars.

Atmospheric turbulence and small errors of WCSs leave shifts that are smooth over hundreds of
pixels but follow no polynomial. A Gaussian process describes them: it never strays where
there are no stars, and the stars themselves choose its scale, or that there is none.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.linalg.lapack import dpotri

__all__ = ["NODE_STEP", "FieldFit", "ShiftField", "fit_field"]

type Array = npt.NDArray[np.float64]

NODE_STEP = 64
"""Distance of the field's nodes, pixels: the finest that it is needed on."""
_DECIMALS = 5
"""To which the nodes are rounded, so that a record holds the field bit for bit."""
_SCALES = (200.0, 300.0, 450.0, 700.0, 1100.0, 2000.0)
_AMPLITUDES = (0.02, 0.05, 0.12, 0.3)
_SAMPLE = 300
_LEAST_STARS, _ENOUGH_STARS = 6, 20
_FEW_SPACINGS = 1.5
"""Least scale over the stars' mean distance where they are too few to be held out."""
_LEAST_GAIN = 6.0
"""In log likelihood, over no shift at all."""
_CLIP = 5.0
_MEDIAN_2D = 1.1774
"""Median distance, in units of the standard deviation along an axis."""
_ROUNDS = 2
_WORST_HELD_OUT = 25.0


@dataclass(frozen=True)
class ShiftField:
    """Shifts in pixels of the science image: an object at ``x`` is on the template's ``x + s``.

    Parameters
    ----------
    x, y
        float64 (n_y, n_x): the shift at nodes every `NODE_STEP` pixels from pixel (0, 0) on,
        bilinear between them.
    """

    x: Array
    y: Array

    def at(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Array, Array]:
        """Shift (x, y) at pixel positions."""
        u = np.clip(np.asarray(x, np.float64) / NODE_STEP, 0.0, self.x.shape[1] - 1.0)
        v = np.clip(np.asarray(y, np.float64) / NODE_STEP, 0.0, self.x.shape[0] - 1.0)
        j = np.minimum(np.floor(u).astype(np.int64), self.x.shape[1] - 2)
        i = np.minimum(np.floor(v).astype(np.int64), self.x.shape[0] - 2)
        fx, fy = u - j, v - i
        found = [
            (grid[i, j] * (1 - fx) + grid[i, j + 1] * fx) * (1 - fy)
            + (grid[i + 1, j] * (1 - fx) + grid[i + 1, j + 1] * fx) * fy
            for grid in (self.x, self.y)
        ]
        return found[0], found[1]


@dataclass(frozen=True)
class FieldFit:
    """A fitted field and what chose it.

    Parameters
    ----------
    nodes_x, nodes_y
        float64 (n_y, n_x): the field at the nodes, pixels.
    used
        bool (n,): stars in the last fit.
    scale, amplitude
        Correlation length and standard deviation of the process, pixels.
    gain
        In log likelihood over no shift at all, on the sample that chose.
    """

    nodes_x: Array
    nodes_y: Array
    used: npt.NDArray[np.bool_]
    scale: float
    amplitude: float
    gain: float


def node_grid(shape: tuple[int, int]) -> tuple[Array, Array]:
    """Coordinates (y, x) of the nodes over an image of that shape, as two 1-D arrays."""
    counts = [max(2, -(-n // NODE_STEP) + 1) for n in shape]
    y, x = (np.arange(n, dtype=np.float64) * NODE_STEP for n in counts)
    return y, x


def fit_field(
    x: Array, y: Array, shifts: Array, variance: Array, shape: tuple[int, int]
) -> FieldFit | None:
    """Fit a Gaussian process of zero mean to shifts; `None` when they do not ask for any.

    The scale is at least twice the stars' mean distance. Beyond a gain in likelihood, the
    field must predict the shifts of one half of the stars from the other half; their scatter
    about the prediction, where it exceeds the errors, widens all errors (stars that move).
    Under twenty stars, on a cut-out, there are no halves: the field follows the few there are.

    Parameters
    ----------
    x, y
        float64 (n,), pixels.
    shifts
        float64 (n, 2), pixels.
    variance
        float64 (n,), pixels^2 along each axis.
    shape
        (ny, nx) of the image.
    """
    used = _agree_with_neighbours(x, y, shifts, variance)
    if used.sum() < _LEAST_STARS:
        return None
    spacing = np.sqrt(shape[0] * shape[1] / used.sum())
    enough = bool(used.sum() >= _ENOUGH_STARS)
    scales = [s for s in _SCALES if s >= (2.0 if enough else _FEW_SPACINGS) * spacing]
    sample = _spread(np.flatnonzero(used), _SAMPLE)
    here = (x[sample], y[sample], shifts[sample])
    choice = _choose(*here, variance[sample], scales)
    if choice is None or choice[2] <= _LEAST_GAIN:
        return None
    excess = _held_out_excess(*here, variance[sample], choice) if enough else 1.0
    if excess is None:
        return None
    if excess > 1.2:
        variance = variance * excess
        choice = _choose(*here, variance[sample], scales)
        if choice is None or choice[2] <= _LEAST_GAIN:
            return None
    scale, amplitude, gain = choice
    for last in (False,) * _ROUNDS + (True,):
        k = np.flatnonzero(used)
        solved = _solve(x[k], y[k], shifts[k], variance[k], scale, amplitude)
        if solved is None or len(k) < _LEAST_STARS:
            return None
        weights, uncertainty = solved
        # What the other stars say at each star: a star cannot vouch for itself.
        z = np.sqrt(np.sum(weights**2, axis=1) * uncertainty)
        keep = z <= _CLIP * max(1.0, float(np.median(z)) / _MEDIAN_2D)
        if last or keep.all():
            break
        used[k[~keep]] = False
    nodes_y, nodes_x = node_grid(shape)
    along_y = np.exp(-0.5 * ((nodes_y[:, None] - y[k]) / scale) ** 2)
    along_x = np.exp(-0.5 * ((nodes_x[:, None] - x[k]) / scale) ** 2)
    fields = [amplitude**2 * (along_y * w) @ along_x.T for w in weights.T]
    return FieldFit(fields[0], fields[1], used, scale, amplitude, gain)


def rounded(field_x: Array, field_y: Array) -> ShiftField:
    """Make a field of nodes, in the form that a record can hold."""
    return ShiftField(np.round(field_x, _DECIMALS), np.round(field_y, _DECIMALS))


def _spread(index: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """At most so many of the indices, evenly taken."""
    if len(index) <= most:
        return index
    return index[np.linspace(0, len(index) - 1, most).astype(np.int64)]


def _agree_with_neighbours(
    x: Array, y: Array, shifts: Array, variance: Array
) -> npt.NDArray[np.bool_]:
    """Stars whose shift is near the weighted median of the twelve nearest."""
    n = len(x)
    if n < 4:
        return np.ones(n, np.bool_)
    distance = (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2
    np.fill_diagonal(distance, np.inf)
    near = np.argpartition(distance, min(12, n - 2), axis=1)[:, : min(12, n - 1)]
    middle = np.empty_like(shifts)
    for axis in (0, 1):
        values, weights = shifts[near, axis], 1.0 / variance[near]
        order = np.argsort(values, axis=1, kind="stable")
        values = np.take_along_axis(values, order, axis=1)
        weights = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
        half = np.sum(weights < 0.5 * weights[:, -1:], axis=1)
        middle[:, axis] = values[np.arange(n), half]
    off = np.sqrt(np.sum((shifts - middle) ** 2, axis=1))
    # Without the typical difference the brightest stars of a gradient would be thrown out.
    return off <= _CLIP * np.sqrt(variance + np.median(off) ** 2)


def _correlation(x: Array, y: Array, x2: Array, y2: Array, scale: float) -> Array:
    return np.exp(-0.5 * ((x[:, None] - x2) ** 2 + (y[:, None] - y2) ** 2) / scale**2)


def _solve(
    x: Array, y: Array, shifts: Array, variance: Array, scale: float, amplitude: float
) -> tuple[Array, Array] | None:
    """Weights (n, 2) of the stars, and the variance of each given all others (pixels^2)."""
    matrix = amplitude**2 * _correlation(x, y, x, y, scale)
    matrix[np.diag_indices_from(matrix)] += variance
    try:
        factor, _ = cho_factor(matrix, lower=True)
    except LinAlgError:
        return None
    inverse, _ = dpotri(factor, lower=1)
    return np.asarray(cho_solve((factor, True), shifts)), 1.0 / np.diag(inverse)


def _choose(
    x: Array, y: Array, shifts: Array, variance: Array, scales: list[float]
) -> tuple[float, float, float] | None:
    """Scale, amplitude and gain of the most likely field."""
    none = -0.5 * float(np.sum(shifts**2 / variance[:, None]) + 2.0 * np.sum(np.log(variance)))
    best: tuple[float, float, float] | None = None
    for scale in scales:
        shape = _correlation(x, y, x, y, scale)
        for amplitude in _AMPLITUDES:
            matrix = amplitude**2 * shape
            matrix[np.diag_indices_from(matrix)] += variance
            try:
                factor = cho_factor(matrix, lower=True)
            except LinAlgError:
                continue
            fit = float(np.sum(shifts * cho_solve(factor, shifts)))
            determinant = 2.0 * float(np.sum(np.log(np.diag(factor[0]))))
            gain = -0.5 * fit - determinant - none
            if best is None or gain > best[2]:
                best = (scale, amplitude, gain)
    return best


def _folds(n: int) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    odd = np.arange(n) % 2 == 1
    yield np.flatnonzero(~odd), np.flatnonzero(odd)
    yield np.flatnonzero(odd), np.flatnonzero(~odd)


def _held_out_excess(
    x: Array, y: Array, shifts: Array, variance: Array, choice: tuple[float, float, float]
) -> float | None:
    """Scatter of stars about what the others predict, over their variance; `None` if no gain."""
    scale, amplitude, _ = choice
    z = np.empty(len(x))
    for known, held in _folds(len(x)):
        matrix = amplitude**2 * _correlation(x[known], y[known], x[known], y[known], scale)
        matrix[np.diag_indices_from(matrix)] += variance[known]
        try:
            factor = cho_factor(matrix, lower=True)
        except LinAlgError:
            return None
        cross = amplitude**2 * _correlation(x[held], y[held], x[known], y[known], scale)
        predicted = cross @ cho_solve(factor, shifts[known])
        spread = amplitude**2 - np.sum(cross * cho_solve(factor, cross.T).T, axis=1)
        residual = np.sum((shifts[held] - predicted) ** 2, axis=1)
        z[held] = residual / (variance[held] + np.maximum(spread, 0.0))
    without = np.sum(shifts**2, axis=1) / variance
    gain = np.sum(np.minimum(without, _WORST_HELD_OUT) - np.minimum(z, _WORST_HELD_OUT))
    if gain <= 2.0 * _LEAST_GAIN:
        return None
    return float(np.median(z)) / _MEDIAN_2D**2
