"""The PSF-matching kernel: its freedom and its fit (Alard & Lupton 1998)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from residua.subtraction.config import SubtractionConfig
from residua.subtraction.errors import InsufficientKernelStarsError, NumericalError
from residua.subtraction.images import (
    ConvolvedImage,
    FloatPlane,
    MatchingKernel,
    SpatialPolynomial,
)
from residua.subtraction.match.basis import KernelBasis, gauss_hermite_basis
from residua.subtraction.match.few.star_scales import stars_that_agree
from residua.subtraction.match.kernel_shape import KernelGroups, stamp_half_width
from residua.subtraction.match.kernel_stars import KernelStars
from residua.subtraction.match.spatial_fit import (
    KernelModel,
    SpatialFit,
    choose_model,
    clip_stamps,
    of_one_scale,
)
from residua.subtraction.match.stamp_equations import StampEquations, StampNoise, stamp_equations

__all__ = ["KernelFit", "fit_equations", "fit_kernel", "kernel_equations"]

_MANY_STARS = 100
_LARGEST_SHARE, _STARS_TO_SHARE = 0.25, 10
"""Of the fit's weight, for one star; among fewer stars the brightest knows the kernel best."""

_FREEDOMS: tuple[tuple[int, tuple[int, ...]], ...] = (
    (0, (0, 0, 0, 0, 0)),
    (0, (2, 0, 0, 0, 0)),
    (0, (2, 2, 0, 0, 0)),
    (1, (2, 0, 0, 0, 0)),
    (0, (9, 9, 9, 9, 9)),
    (1, (2, 2, 0, 0, 0)),
    (1, (9, 9, 9, 9, 9)),
    (2, (2, 2, 0, 0, 0)),
    (2, (9, 9, 9, 9, 9)),
)
"""Candidates (spatial order, highest degree of each group) by number of parameters."""


@dataclass(frozen=True)
class KernelFit:
    """A fitted matching kernel with what is needed to judge and to apply it.

    Parameters
    ----------
    kernel
        The kernel; convolves the image named by ``convolved`` to match the other one.
    basis
        Its basis as products of 1-D functions.
    convolved
        Which image is convolved.
    solution
        Coefficients with covariance, for the fit variance; `None` where the kernel follows
        from PSFs.
    stars
        Number of stamps in the fit.
    rejected
        Number of stamps clipped.
    half_width
        Half width of the kernel, pixels.
    chi2, chi2_p90_ratio
        Median reduced chi^2 of the stamps, and 90th percentile over median.
    pieces
        Fits of pieces of the template between which its PSF jumps; then ``kernel`` is that of the
        rest, and what the whole would have alone.
    labels
        uint8 (ny, nx), with pieces: 1 for pixels of the first one and so on, 0 for the rest.
    without_kernel
        Pieces of some size that have too few stars for a kernel of their own.
    scale_error
        Relative error of the kernel's sum as fewer than ten stars know it without the best of
        them; NaN for more stars.
    """

    kernel: MatchingKernel
    basis: KernelBasis
    convolved: ConvolvedImage
    solution: SpatialFit | None
    stars: int
    rejected: int
    half_width: int
    chi2: float
    chi2_p90_ratio: float
    pieces: tuple["KernelFit", ...] = ()
    labels: npt.NDArray[np.uint8] | None = None
    without_kernel: int = 0
    scale_error: float = float("nan")


def fit_kernel(
    science: FloatPlane,
    template: FloatPlane,
    noise: StampNoise,
    stars: KernelStars,
    config: SubtractionConfig,
    *,
    convolved: ConvolvedImage,
    half_width: int,
    groups: KernelGroups,
    threads: int = 1,
) -> KernelFit:
    """Fit the spatially varying kernel and differential background on stamps of stars.

    The kernel's freedom (number of basis functions and spatial order) is the one that predicts
    held-out stamps best, among those with at most four parameters per star; with 100 stars or
    more it is the full basis with second order. Stamps are clipped by their chi^2. Of ten
    stars or more none carries above a quarter of the weight; fewer have to agree on the flux
    ratio, see `residua.subtraction.match.few.star_scales`.

    Parameters
    ----------
    science, template
        float32 (ny, nx), finite; the template on the science image's grid.
    noise
        Variances and mask, for the weights.
    stars
        Stamp centres.
    config
        Spatial order, background order and least number of stars.
    convolved
        Which image to convolve.
    half_width
        Half width of the kernel, pixels.
    groups
        The fullest basis, from `residua.subtraction.match.kernel_shape.kernel_groups`.
    threads
        Threads to use; the result does not depend on it.

    Returns
    -------
    KernelFit

    Raises
    ------
    InsufficientKernelStarsError
        If fewer usable stamps than ``config.minimum_kernel_stars`` are left, or they do not
        determine even the simplest kernel.
    NumericalError
        If the solution is not finite.
    """
    basis, equations = kernel_equations(
        science, template, noise, stars, config,
        convolved=convolved, half_width=half_width, groups=groups, threads=threads,
    )  # fmt: skip
    shape = (int(science.shape[0]), int(science.shape[1]))
    return fit_equations(
        equations, basis, groups, shape, config, convolved=convolved, half_width=half_width
    )


def kernel_equations(
    science: FloatPlane,
    template: FloatPlane,
    noise: StampNoise,
    stars: KernelStars,
    config: SubtractionConfig,
    *,
    convolved: ConvolvedImage,
    half_width: int,
    groups: KernelGroups,
    threads: int = 1,
) -> tuple[KernelBasis, StampEquations]:
    """Stamps of the kernel fit that say something, and the fullest basis.

    Parameters, errors as for `fit_kernel`.
    """
    _check_number(len(stars), max(config.minimum_kernel_stars, 1))
    basis = gauss_hermite_basis(half_width, [s for s, _ in groups], [d for _, d in groups])
    source, target = (template, science) if convolved == "template" else (science, template)
    equations = stamp_equations(
        target, source, noise, stars, basis,
        stamp_half_width=stamp_half_width(half_width), threads=threads,
    )  # fmt: skip
    # A stamp that lost most of its pixels to masks and edges says little.
    n_full = (2 * stamp_half_width(half_width) + 1) ** 2
    return basis, equations.select(equations.n_pixels > 0.2 * n_full)


def fit_equations(
    equations: StampEquations,
    basis: KernelBasis,
    groups: KernelGroups,
    shape: tuple[int, int],
    config: SubtractionConfig,
    *,
    convolved: ConvolvedImage,
    half_width: int,
) -> KernelFit:
    """Fit the kernel to stamps.

    Parameters
    ----------
    equations, basis, groups
        From `kernel_equations`, or some of them.
    shape
        (ny, nx) of the image.
    config, convolved, half_width
        As for `fit_kernel`; so are the errors.
    """
    minimum = max(config.minimum_kernel_stars, 1)
    if len(equations) >= _STARS_TO_SHARE:
        equations = equations.without_dominance(_LARGEST_SHARE)
    n = len(equations)
    _check_number(n, minimum)
    models = _candidates(groups, shape, n, config)
    scale_error = float("nan")
    if n < _STARS_TO_SHARE:
        agreed = stars_that_agree(equations, models[0], minimum)
        equations, scale_error = agreed.equations, agreed.error
    equations = equations.select(of_one_scale(equations, models[0]))
    model = models[-1] if n >= _MANY_STARS else models[choose_model(equations, models)]
    fit, keep, chi2 = clip_stamps(equations, model, minimum)
    if fit is None:
        raise InsufficientKernelStarsError(
            f"the {n} stamps of stars do not determine a matching kernel of "
            f"{model.n_parameters} parameters: the images may not overlap in any star",
            kernel_stars=n,
            minimum_kernel_stars=minimum,
        )
    if not np.all(np.isfinite(fit.coefficients)):
        raise NumericalError(
            f"the matching kernel fitted to {int(keep.sum())} stars is not finite: report these "
            "images",
            kernel_stars=int(keep.sum()),
            kernel_half_width=half_width,
        )
    used = KernelBasis(basis.functions, basis.products[model.active])
    kernel = MatchingKernel(
        basis=used.images(),
        coefficients=fit.coefficients,
        polynomial=model.polynomial,
        background=fit.background,
        background_polynomial=model.background,
    )
    middle = float(np.median(chi2[keep]))
    return KernelFit(
        kernel=kernel,
        basis=used,
        convolved=convolved,
        solution=fit,
        stars=int(keep.sum()),
        rejected=int(n - keep.sum()),
        half_width=half_width,
        chi2=middle,
        chi2_p90_ratio=float(np.percentile(chi2[keep], 90)) / middle,
        scale_error=scale_error,
    )


def _check_number(stars: int, minimum: int) -> None:
    if stars < minimum:
        raise InsufficientKernelStarsError(
            f"{stars} stars are usable for the matching kernel; at least {minimum} are needed: use "
            "a larger image or a template with more overlap",
            kernel_stars=stars,
            minimum_kernel_stars=minimum,
        )


def _candidates(
    groups: KernelGroups,
    shape: tuple[int, ...],
    n_stars: int,
    config: SubtractionConfig,
) -> list[KernelModel]:
    """Models that the number of stars allows, simplest first."""
    group_degree = [
        (group, degree)
        for group, (_, highest) in enumerate(groups)
        for degree in range(highest + 1)
        for _ in range(degree + 1)
    ]
    size = (int(shape[0]), int(shape[1]))
    models: list[KernelModel] = []
    for order, degrees in _FREEDOMS:
        active: npt.NDArray[np.int64] = np.array(
            [b for b, (group, degree) in enumerate(group_degree) if degree <= degrees[group]],
            np.int64,
        )
        model = KernelModel(
            active,
            SpatialPolynomial(
                size, order if config.spatial_order is None else config.spatial_order
            ),
            SpatialPolynomial(size, _background_order(n_stars, config)),
        )
        if not models or model.n_parameters <= 4 * n_stars:
            models.append(model)
    return models


def _background_order(n_stars: int, config: SubtractionConfig) -> int:
    """Order of the background, lowered where few stars cannot carry it."""
    order = config.background_order
    while order > 0 and 3 * (order + 1) * (order + 2) // 2 > 2 * n_stars:
        order -= 1
    return order
