"""Spatially varying solution of the matching kernel from the normal equations of the stamps."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve_triangular

from residua.subtraction.images import SpatialPolynomial
from residua.subtraction.match.stamp_equations import StampEquations

__all__ = ["KernelModel", "SpatialFit", "choose_model", "clip_stamps", "of_one_scale", "solve"]

type Array = npt.NDArray[np.float64]

_CLIP_SIGMA = 3.0
_MAXIMUM_CLIPS = 16
_WORST_FRACTION = 0.4
_FEW_STAMPS = 20
_RELATIVE_MISFIT = 2.0
_MAXIMUM_REJECTED = 0.4
_FOLDS = 10
_OUTLIER_CHI2 = 5.0
_PRICE = 4.0
_RIDGE = 1e-12
_LEAST_FOR_SCALE, _SCALE_SIGMAS, _SCALE = 10, 5.0, 0.03
"""Of few stars, those whose flux ratio is off by so much belong to no fit."""


@dataclass(frozen=True)
class KernelModel:
    """How freely the kernel may vary.

    Parameters
    ----------
    active
        int64 (n_active,): which basis functions of the stamps' equations are used.
    polynomial
        Spatial terms of each basis function's coefficient.
    background
        Spatial terms of the differential background.
    """

    active: npt.NDArray[np.int64]
    polynomial: SpatialPolynomial
    background: SpatialPolynomial

    @property
    def n_parameters(self) -> int:
        """Free parameters of the kernel (without the background)."""
        return len(self.active) * len(self.polynomial.exponents)


@dataclass(frozen=True)
class SpatialFit:
    """Coefficients of the kernel and of the background, with their covariance.

    Parameters
    ----------
    model
        What was fitted.
    coefficients
        float64 (n_active, n_terms).
    background
        float64 (n_background_terms,).
    factor, scale
        Lower Cholesky factor of the normal matrix after both sides were divided by ``scale``
        (its diagonal's root): the covariance of the parameters, ordered basis function first,
        then spatial term, then background.
    """

    model: KernelModel
    coefficients: Array
    background: Array
    factor: Array
    scale: Array

    def at(self, x: Array, y: Array, n_basis: int) -> Array:
        """Float64 (n, n_basis + 1): kernel coefficients and background at positions."""
        out = np.zeros((len(x), n_basis + 1))
        out[:, self.model.active] = self.model.polynomial.terms(x, y) @ self.coefficients.T
        out[:, -1] = self.model.background.terms(x, y) @ self.background
        return out

    def variance(self, x: Array, y: Array, design: Array) -> Array:
        """Variance of the model ``sum_b a_b design_b + background`` from the fit's own noise.

        Parameters
        ----------
        x, y
            float64 (n,), pixel positions.
        design
            float64 (n, n_active): the convolved basis functions at these pixels.

        Returns
        -------
        numpy.ndarray
            float64 (n,), squared unit of the target image.
        """
        terms = self.model.polynomial.terms(x, y)
        gradient = np.concatenate(
            [
                (design[:, :, None] * terms[:, None, :]).reshape(len(x), -1),
                self.model.background.terms(x, y),
            ],
            axis=1,
        )
        whitened = solve_triangular(self.factor, (gradient / self.scale).T, lower=True)
        return np.asarray(np.sum(whitened**2, axis=0), dtype=np.float64)


def solve(equations: StampEquations, model: KernelModel) -> SpatialFit | None:
    """Solve for the coefficients; `None` when the stamps do not determine them."""
    active = np.append(model.active, equations.matrices.shape[1] - 1)
    q = equations.matrices[:, active][:, :, active]
    b = equations.vectors[:, active]
    terms = model.polynomial.terms(equations.x, equations.y)
    background = model.background.terms(equations.x, equations.y)
    n_stars, n_active, n_terms = len(equations), len(model.active), terms.shape[1]
    n_kernel, n_background = n_active * n_terms, background.shape[1]

    def outer(left: Array, right: Array) -> Array:
        return (left[:, :, None] * right[:, None, :]).reshape(n_stars, -1)

    kernel_kernel = q[:, :-1, :-1].reshape(n_stars, -1).T @ outer(terms, terms)
    kernel_kernel = kernel_kernel.reshape(n_active, n_active, n_terms, n_terms)
    kernel_background = q[:, :-1, -1].T @ outer(terms, background)
    matrix = np.empty((n_kernel + n_background, n_kernel + n_background))
    matrix[:n_kernel, :n_kernel] = kernel_kernel.transpose(0, 2, 1, 3).reshape(n_kernel, n_kernel)
    matrix[:n_kernel, n_kernel:] = kernel_background.reshape(n_kernel, n_background)
    matrix[n_kernel:, :n_kernel] = matrix[:n_kernel, n_kernel:].T
    matrix[n_kernel:, n_kernel:] = (background * q[:, -1:, -1]).T @ background
    vector = np.append((b[:, :-1].T @ terms).ravel(), b[:, -1] @ background)

    diagonal = np.diag(matrix)
    if not np.all(np.isfinite(diagonal)) or np.any(diagonal <= 0):
        return None
    scale = np.sqrt(diagonal)
    matrix = matrix / scale / scale[:, None]
    matrix[np.diag_indices_from(matrix)] += _RIDGE
    try:
        factor, _ = cho_factor(matrix, lower=True)
    except LinAlgError:
        return None
    solution = cho_solve((factor, True), vector / scale) / scale
    return SpatialFit(
        model,
        solution[:n_kernel].reshape(n_active, n_terms),
        solution[n_kernel:],
        factor,
        scale,
    )


def clip_stamps(
    equations: StampEquations, model: KernelModel, minimum: int
) -> tuple[SpatialFit | None, npt.NDArray[np.bool_], Array]:
    """Fit, reject stamps whose chi^2 stands out by 3 sigma, worst first, until none does.

    Parameters
    ----------
    equations
        All stamps.
    model
        What to fit.
    minimum
        Never keep fewer stamps than this.

    Returns
    -------
    fit, keep, chi2
        The last solution (`None` if singular), bool (n,) the stamps in it, and float64 (n,)
        every stamp's reduced chi^2 against it.
    """
    n = len(equations)
    keep = np.ones(n, np.bool_)
    fit = solve(equations, model)
    chi2 = np.full(n, np.nan)
    n_basis = equations.matrices.shape[1] - 1
    floor = max(minimum, int(np.ceil((1.0 - _MAXIMUM_REJECTED) * n)))
    for _ in range(_MAXIMUM_CLIPS):
        if fit is None:
            break
        chi2 = equations.chi2(fit.at(equations.x, equations.y, n_basis))
        middle = np.median(chi2[keep])
        # No tighter than the scatter that pure noise gives a stamp.
        noise = middle * np.sqrt(2.0 / np.median(equations.n_pixels[keep]))
        spread = max(1.4826 * float(np.median(np.abs(chi2[keep] - middle))), float(noise))
        # The worst stamps first: they may have drawn the fit away from all the others.
        worst = float(chi2[keep].max()) - middle
        good = chi2 - middle <= max(_CLIP_SIGMA * spread, _WORST_FRACTION * worst)
        if n < _FEW_STAMPS:
            # The brightest of few stars has the largest chi^2 and the most to say; a transient
            # differs by a large fraction of its flux.
            misfit = np.maximum(chi2 - 1.0, 0.0) * equations.n_pixels / equations.squares
            good |= misfit <= _RELATIVE_MISFIT**2 * np.median(misfit[keep])
        if good.sum() < floor:
            good = np.zeros(n, np.bool_)
            good[np.argsort(chi2, kind="stable")[:floor]] = True
        if np.array_equal(good, keep):
            break
        candidate = solve(equations.select(good), model)
        if candidate is None:
            break
        keep, fit = good, candidate
    if fit is not None:
        chi2 = equations.chi2(fit.at(equations.x, equations.y, n_basis))
    return fit, keep, chi2


def of_one_scale(equations: StampEquations, model: KernelModel) -> npt.NDArray[np.bool_]:
    """Of few stamps, those whose flux ratio is that of the others.

    A star that varies or is saturated softly is dropped before it can ask for a kernel of its
    own. Ten stamps at least must tell: of five or six the median is not known so well, and on a
    real frame of five the one that all others contradicted was needed. Of twenty each counts
    little.

    Parameters
    ----------
    equations
        All stamps, none of which dominates.
    model
        The simplest one.

    Returns
    -------
    numpy.ndarray
        bool (n,).
    """
    n = len(equations)
    fit = solve(equations, model) if _LEAST_FOR_SCALE <= n < _FEW_STAMPS else None
    if fit is None:
        return np.ones(n, np.bool_)
    n_basis = equations.matrices.shape[1] - 1
    scales = equations.scales(fit.at(equations.x, equations.y, n_basis))
    off = np.abs(scales - np.median(scales))
    spread = 1.4826 * float(np.median(off))
    return np.asarray(off <= max(_SCALE_SIGMAS * spread, _SCALE))


def choose_model(equations: StampEquations, models: list[KernelModel]) -> int:
    """Index of the model that predicts held-out stamps best.

    The stamps are split into at most ten folds; each is predicted from the others. A stamp
    that no model predicts (a transient, a variable star) does not count. Under ten stamps the
    others say too little about the brightest, which the fit will know: then chi^2 in the fit
    itself counts, with a price on each parameter.

    Parameters
    ----------
    equations
        All stamps.
    models
        Candidates, simplest first.
    """
    n = len(equations)
    n_basis = equations.matrices.shape[1] - 1
    if n < _FOLDS:
        return _choose_by_price(equations, models)
    folds = np.arange(n) % min(_FOLDS, n)
    chi2 = np.full((len(models), n), np.inf)
    for m, model in enumerate(models):
        for fold in range(int(folds.max()) + 1):
            held = folds == fold
            fit = solve(equations.select(~held), model)
            if fit is not None:
                held_out = equations.select(held)
                chi2[m, held] = held_out.chi2(fit.at(held_out.x, held_out.y, n_basis))
    usable = np.all(np.isfinite(chi2), axis=1)
    if not usable.any():
        return 0
    best = chi2[usable].min(axis=0)
    sane = best <= _OUTLIER_CHI2 * np.median(best)
    score = np.where(usable, (chi2[:, sane] * equations.n_pixels[sane]).sum(axis=1), np.inf)
    return int(np.argmin(score))


def _choose_by_price(equations: StampEquations, models: list[KernelModel]) -> int:
    """Index of the model of least chi^2 plus four times its parameters (of the noise found)."""
    n_basis = equations.matrices.shape[1] - 1
    chi2 = np.full((len(models), len(equations)), np.inf)
    for m, model in enumerate(models):
        fit = solve(equations, model)
        if fit is not None:
            chi2[m] = equations.chi2(fit.at(equations.x, equations.y, n_basis))
    usable = np.all(np.isfinite(chi2), axis=1)
    if not usable.any():
        return 0
    best = chi2[usable].min(axis=0)
    sane = best <= _OUTLIER_CHI2 * np.median(best)
    price = _PRICE * max(1.0, float(np.median(best))) * np.array([m.n_parameters for m in models])
    score = (chi2[:, sane] * equations.n_pixels[sane]).sum(axis=1) + price
    return int(np.argmin(np.where(usable, score, np.inf)))
