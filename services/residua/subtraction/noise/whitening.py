"""Decorrelate, look at what is left of covariance in the sky, and take it into account."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from residua.subtraction.images import ConvolvedImage, FloatPlane
from residua.subtraction.noise.decorrelate import Decorrelated, decorrelate
from residua.subtraction.noise.decorrelation_filters import (
    DecorrelationFilters,
    decorrelation_filters,
)
from residua.subtraction.noise.decorrelation_nodes import DecorrelationNodes
from residua.subtraction.noise.residual_covariance import ResidualCovariance, measure_covariance

__all__ = ["Whitened", "whiten"]

type Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Whitened:
    """The difference with white noise, and what was known of the noise.

    Parameters
    ----------
    white
        The decorrelated difference.
    nodes, filters
        The filters that made it, and their form in which they were applied.
    found
        Covariance that the inputs' own account of their noise left.
    corrected
        Whether ``white`` takes it into account.
    """

    white: Decorrelated
    nodes: DecorrelationNodes
    filters: DecorrelationFilters
    found: ResidualCovariance
    corrected: bool


def whiten(
    difference: FloatPlane,
    good: npt.NDArray[np.bool_],
    variances: tuple[FloatPlane, FloatPlane],
    model: FloatPlane,
    make_nodes: Callable[[Array | None], DecorrelationNodes],
    nodes: DecorrelationNodes,
    out: tuple[FloatPlane, FloatPlane],
    *,
    convolved: ConvolvedImage,
    sigma: float,
    largest_factor: float | None,
    threads: int = 1,
) -> Whitened:
    """Whiten a difference; again with the covariance found, where that is worth it.

    Parameters
    ----------
    difference
        float32 (ny, nx); see `residua.subtraction.noise.decorrelate.decorrelate`.
    good
        bool (ny, nx).
    variances
        float32 (ny, nx): of the science image and of the template.
    model
        float32 (ny, nx): the image on the template's side, to tell sky from sources.
    make_nodes
        Makes the filters, for a covariance found with the first ones.
    nodes
        The first filters.
    out
        float32 (ny, nx): image and variance to write into; none of the inputs.
    convolved
        Which image was convolved.
    sigma
        Noise of the difference, unit of the image.
    largest_factor
        Between the noise of the sky and what the variance says: what is farther off is no
        variance, and stays as it is, to be refused. `None` corrects nothing.
    threads
        Threads to use; the result does not depend on it.
    """
    image, variance = out

    def apply(filters: DecorrelationFilters) -> Decorrelated:
        return decorrelate(
            difference, good, *variances, filters,
            threads=threads, out_image=image, out_variance=variance,
        )  # fmt: skip

    filters = decorrelation_filters(nodes)
    white = apply(filters)
    found = measure_covariance(
        white.image, white.variance, model, good, white.psf, convolved=convolved, sigma=sigma
    )
    correct = (
        largest_factor is not None
        and found.significant
        and 1.0 / largest_factor <= found.scale <= largest_factor
    )
    if correct:
        nodes = make_nodes(found.covariance)
        if found.variation.significant:
            nodes = nodes.with_variance_times(found.variation.at_nodes(good.shape))
        filters = decorrelation_filters(nodes)
        white = apply(filters)
    return Whitened(white, nodes, filters, found, correct)
