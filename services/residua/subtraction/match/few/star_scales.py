"""The flux ratio on which a few stars agree, so that no single one of them sets the kernel's sum.

The brightest of a handful of stars outweighs all others. If it varies, is saturated softly, or has
a new neighbour, a fit takes its flux ratio for that of the two images. Here every star has a vote;
one that the others contradict lends the fit its shape at most.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from residua.subtraction.errors import InsufficientKernelStarsError
from residua.subtraction.match.spatial_fit import KernelModel, SpatialFit, solve
from residua.subtraction.match.stamp_equations import StampEquations

__all__ = ["AgreedStars", "stars_that_agree"]

type Array = npt.NDArray[np.float64]

_AGREE, _ERRORS = 0.03, 4.0
"""Flux ratios closer than this, or than so many of their errors, are the same."""
_KNOWN = 0.02
"""No star's ratio counts as better known: kernels do not fit exactly."""
_VARIES = 2.0
"""Ratio to the others beyond which it is no variable star but another object."""
_SHAPE = 0.06
"""Part of its own image by which a star may differ from the others in shape to be of use."""
_LARGEST_SPREAD = 0.10


@dataclass(frozen=True)
class AgreedStars:
    """Stamps whose stars have one flux ratio.

    Parameters
    ----------
    equations
        The stamps; those of stars that are off have been brought to the ratio of the others.
    error
        Relative error of the ratio as the stars know it without the one that knows it best; NaN
        where they were not asked.
    """

    equations: StampEquations
    error: float


def stars_that_agree(equations: StampEquations, model: KernelModel, minimum: int) -> AgreedStars:
    """Bring a few stamps to the flux ratio that most of their stars have.

    The ratio is the median with weights that no bright star exceeds. A star off by more than 3 %
    and four errors is scaled to it, so that its shape counts and its flux does not; if its shape
    is not that of the others either (saturated softly, blended), or it is off by more than a
    factor of two, it is left out as long as enough remain.

    Parameters
    ----------
    equations
        All stamps.
    model
        The simplest one.
    minimum
        Never keep fewer stamps than this.

    Raises
    ------
    InsufficientKernelStarsError
        If no majority agrees, and they differ by more than a tenth.
    """
    n = len(equations)
    fit = solve(equations, model)
    if fit is None:
        return AgreedStars(equations, float("nan"))
    ratios, errors = _ratios(equations, fit)
    known = np.hypot(errors, _KNOWN)
    centre = _weighted_median(ratios, known**-2.0)
    agree = np.abs(ratios - centre) <= np.maximum(_AGREE * abs(centre), _ERRORS * errors)
    spread = 1.4826 * float(np.median(np.abs(ratios - centre))) / max(abs(centre), 1e-9)
    if 2 * np.count_nonzero(agree) <= n and spread > _LARGEST_SPREAD:
        raise InsufficientKernelStarsError(
            f"the {n} stars usable for the matching kernel do not agree on the flux ratio of the "
            f"images: they scatter by {spread:.0%} about their median, and no majority is within "
            f"{_AGREE:.0%} of it; they may not show the same sky: use a larger image, or give "
            "PSF models of both images",
            kernel_stars=n,
            kernel_scale_spread=spread,
        )
    votes = np.sort(known[agree])[1:] / max(abs(centre), 1e-9)
    error = float(np.sum(votes**-2.0) ** -0.5) if votes.size else float("inf")
    off = np.flatnonzero(~agree)
    if not off.size:
        return AgreedStars(equations, error)
    kept = np.ones(n, np.bool_)
    # Worst first: a wrong shape is left out before one that only varies.
    shape = _shape_misfit(equations, model, agree, off, ratios, centre)
    for k, misfit in sorted(zip(off.tolist(), shape.tolist(), strict=True), key=lambda p: -p[1]):
        if misfit > _SHAPE and np.count_nonzero(kept) > minimum:
            kept[k] = False
    factors, weights = np.ones(n), np.ones(n)
    usable = off[ratios[off] > centre / (2.0 * _VARIES)]
    factors[usable] = centre / ratios[usable]
    # How much brighter it may be: its ratio is known no better than the simplest kernel fits.
    power = np.maximum(equations.squares - equations.n_pixels, 1.0)
    weights[off] = np.minimum(1.0, power[agree].max(initial=1.0) / power[off])
    found = equations.scaled(factors).weighted(weights)
    return AgreedStars(found.select(kept), error)


def _ratios(equations: StampEquations, fit: SpatialFit) -> tuple[Array, Array]:
    """Flux of each star over that of the model, on a background of its own, and the error."""
    kernel = fit.at(equations.x, equations.y, equations.matrices.shape[1] - 1)[:, :-1]
    model = np.einsum("nij,nj->ni", equations.matrices[:, :-1, :-1], kernel)
    power = np.einsum("ni,ni->n", kernel, model)
    across = np.einsum("ni,ni->n", kernel, equations.matrices[:, :-1, -1])
    pixels = np.maximum(equations.matrices[:, -1, -1], 1e-300)
    found = np.einsum("ni,ni->n", kernel, equations.vectors[:, :-1])
    found -= across / pixels * equations.vectors[:, -1]
    alone = power - across**2 / pixels
    alone = np.where(alone > 0.0, alone, np.inf)
    return found / alone, alone**-0.5


def _weighted_median(values: Array, weights: Array) -> float:
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulative, 0.5 * cumulative[-1])])


def _shape_misfit(
    equations: StampEquations,
    model: KernelModel,
    agree: npt.NDArray[np.bool_],
    off: npt.NDArray[np.int64],
    ratios: Array,
    centre: float,
) -> Array:
    """Part of the image of each star that is off which the others' kernel leaves, freely scaled."""
    suspect = equations.select(off)
    ratio = ratios[off] / centre
    misfit = np.where((ratio < 1.0 / _VARIES) | (ratio > _VARIES), np.inf, 0.0)
    fit = solve(equations.select(agree), model)
    if fit is None:
        return misfit
    solutions = fit.at(suspect.x, suspect.y, equations.matrices.shape[1] - 1)
    solutions[:, :-1] *= _ratios(suspect, fit)[0][:, None]
    left = np.maximum(suspect.chi2(solutions) - 1.0, 0.0) * suspect.n_pixels
    found = np.sqrt(left / np.maximum(suspect.squares - suspect.n_pixels, 1.0))
    return np.maximum(misfit, found)
