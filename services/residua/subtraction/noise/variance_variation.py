"""A variance plane wrong by a factor that varies smoothly over the image."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from residua.subtraction.engine.nodes import node_positions
from residua.subtraction.images import SpatialPolynomial

__all__ = ["VarianceVariation", "measure_variation"]

type Array = npt.NDArray[np.float64]

_BLOCKS_OF_ORDER = ((400, 2), (100, 1))
"""Calm blocks that a polynomial of an order needs; each knows its variance to about 5 %."""
_CLIP, _ROUNDS = 4.0, 3
_LEAST, _ERRORS = 0.03, 4.0
"""Of the noise: less is not worth a correction."""


@dataclass(frozen=True)
class VarianceVariation:
    """Smooth part of the variance found over the variance claimed, its mean apart.

    Parameters
    ----------
    order
        Of the polynomial; 0 where too little sky tells.
    coefficients
        float64 (n_terms,): of the natural logarithm of the variance's factor; mean 0.
    rms
        Of the factor of the *noise* over the image, without what its errors explain.
    error
        Of that.
    """

    order: int = 0
    coefficients: Array = field(default_factory=lambda: np.zeros(1))
    rms: float = 0.0
    error: float = 0.0

    @property
    def significant(self) -> bool:
        """Whether it is worth a correction."""
        return self.order > 0 and self.rms > max(_LEAST, _ERRORS * self.error)

    def at_nodes(self, shape: tuple[int, int]) -> Array:
        """Float64 (n_nodes,): factor of the variance at the nodes of an image, y slowest."""
        nodes_y, nodes_x = node_positions(shape)
        y, x = (c.ravel() for c in np.meshgrid(nodes_y, nodes_x, indexing="ij"))
        terms = SpatialPolynomial(shape, self.order).terms(x, y)
        return np.asarray(np.exp(terms @ self.coefficients))


def measure_variation(factors: Array, centres: Array, shape: tuple[int, int]) -> VarianceVariation:
    """Fit the blocks' variances by a smooth polynomial, robustly.

    Parameters
    ----------
    factors
        float64 (n,): mean square of difference over noise in calm blocks.
    centres
        float64 (n, 2): their centres (y, x), pixels.
    shape
        (ny, nx) of the image.
    """
    order = next((o for least, o in _BLOCKS_OF_ORDER if len(factors) >= least), 0)
    if order == 0 or not np.all(factors > 0.0):
        return VarianceVariation()
    terms = SpatialPolynomial(shape, order).terms(centres[:, 1], centres[:, 0])
    values = np.log(factors)
    keep = np.ones(len(values), np.bool_)
    for _ in range(_ROUNDS):
        solution = np.linalg.lstsq(terms[keep], values[keep])[0]
        residual = values - terms @ solution
        spread = 1.4826 * float(np.median(np.abs(residual[keep])))
        keep = np.abs(residual) < _CLIP * spread
    surface = terms @ solution
    coefficients = solution.copy()
    coefficients[0] -= float(np.mean(surface))
    # Of the noise: half of the variance's logarithm.
    error2 = 0.25 * spread**2 * (terms.shape[1] - 1) / max(int(keep.sum()), 1)
    rms2 = 0.25 * float(np.var(surface)) - error2
    return VarianceVariation(
        order, np.round(coefficients, 6), float(np.sqrt(max(rms2, 0.0))), float(np.sqrt(error2))
    )
