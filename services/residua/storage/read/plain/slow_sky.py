"""Sky that varies slowly, whatever large objects lie on it: a polynomial through robust cells.

A mesh follows a galaxy as large as its cells and takes a part of it for sky. Where a file brings
its own variance, nothing but the level of the sky is wanted, and moonlight.
"""

import numpy as np
import numpy.typing as npt

from residua.storage.read.plain.sky_level import SkyModel, mesh_cells

__all__ = ["estimate_slow_sky"]

type Array = npt.NDArray[np.float64]

_MESH = 32
_ORDER = 2
_CELLS_PER_TERM = 4
_ABOVE, _BELOW = 2.0, 4.0
"""Residuals of cells, in their scatter, beyond which they are clipped: objects are bright."""
_ROUNDS = 20
_LEVEL_STEP = 8
_MAD_TO_SIGMA = 1.482602


def estimate_slow_sky(
    image: npt.NDArray[np.floating], good: npt.NDArray[np.bool_], level_mesh: int = _MESH
) -> SkyModel:
    """Estimate the sky as a polynomial of second order; a constant where cells are few.

    Parameters
    ----------
    image
        float (ny, nx).
    good
        bool (ny, nx), pixels to use.
    level_mesh
        Side of a cell, pixels.
    """
    cells, spreads = mesh_cells(image, good, level_mesh)
    usable = np.isfinite(cells)
    if not usable.any():
        return SkyModel(np.zeros(image.shape, np.float32), 0.0, float("nan"))
    y, x = (2.0 * (np.arange(n) + 0.5) / n - 1.0 for n in cells.shape)
    terms = _terms(y, x).reshape(-1, cells.size)
    order = _ORDER if np.count_nonzero(usable) >= _CELLS_PER_TERM * len(terms) else 0
    terms = terms[: (order + 1) * (order + 2) // 2]
    coefficients = _robust_fit(terms, cells.ravel(), usable.ravel())
    background = _surface(coefficients, order, image.shape)
    level = float(np.median(background[::_LEVEL_STEP, ::_LEVEL_STEP]))
    return SkyModel(background, level, float(np.nanmedian(spreads)))


def _surface(coefficients: Array, order: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Add the polynomial up by powers of y: a plane for each, not for each term."""
    v, u = (2.0 * (np.arange(n) + 0.5) / n - 1.0 for n in shape)
    along_x = np.zeros((order + 1, u.size))
    for value, (i, j) in zip(coefficients, _exponents(order), strict=True):
        along_x[i] += value * u**j
    surface = np.empty(shape, np.float32)
    surface[:] = along_x[0].astype(np.float32)
    for i in range(1, order + 1):
        surface += (v**i).astype(np.float32)[:, None] * along_x[i].astype(np.float32)
    return surface


def _exponents(order: int) -> list[tuple[int, int]]:
    return [(i, n - i) for n in range(order + 1) for i in range(n + 1)]


def _terms(y: Array, x: Array) -> Array:
    return np.array([np.multiply.outer(y**i, x**j) for i, j in _exponents(_ORDER)])


def _robust_fit(terms: Array, values: Array, usable: npt.NDArray[np.bool_]) -> Array:
    """Least squares through cells that do not stand out."""
    fit, kept = np.zeros(len(terms)), usable
    for _ in range(_ROUNDS):
        fit = np.linalg.lstsq(terms[:, kept].T, values[kept], rcond=None)[0]
        residual = values - fit @ terms
        # The faint side tells the noise of a cell; on the other there are objects.
        below = residual[kept & (residual <= 0.0)]
        scatter = _MAD_TO_SIGMA * float(np.median(-below)) if below.size else 0.0
        new = usable & (residual < _ABOVE * scatter) & (residual > -_BELOW * scatter)
        if np.count_nonzero(new) < 2 * len(terms) or np.array_equal(new, kept):
            break
        kept = new
    return fit
