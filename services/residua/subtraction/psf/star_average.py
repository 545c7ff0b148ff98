"""The average star of an image: positions, fluxes and the model, one after the other."""

import warnings

import numpy as np
import numpy.typing as npt

from residua.subtraction.errors import InsufficientKernelStarsError
from residua.subtraction.images import PsfModel, SpatialPolynomial
from residua.subtraction.psf.stack import (
    STAMP_MARGIN,
    Moffat,
    fit_moffat,
    shift_stamps,
    smooth_wings,
)
from residua.subtraction.psf.star_locus import PsfStars

__all__ = ["average_stars"]

type Array = npt.NDArray[np.float64]
type Stamps = npt.NDArray[np.float32]

_FWHM_PER_SIGMA = 2.3548
_SYSTEMATIC = 0.001
_PIXEL_CLIP = 4.0
_STAR_CLIP = 3.0
_ITERATIONS = 3
_STARS_OF_MEDIAN = 40
_BLEND, _BLEND_GRADIENT = (1.75, 2.5), (1.25, 1.75)
"""Radii in FWHM between which the smooth wing takes over: mean PSF and its gradients."""
_TAIL = (2.5, 3.5)
"""Radii in FWHM between which the Moffat profile takes over."""
_LINEAR_STARS, _QUADRATIC_STARS = 12, 40


def average_stars(
    stamps: Stamps,
    stars: PsfStars,
    skies: Array,
    shape: tuple[int, int],
    sigma: float,
    fwhm: float,
    rings: tuple[float, float],
) -> tuple[PsfModel, int]:
    """Alternate between the stars' positions and fluxes and the model.

    Parameters
    ----------
    stamps
        float32 (n, size, size), with `STAMP_MARGIN` pixels more on each side
        than the model, and NaN where there are no data.
    stars
        The n stars.
    skies
        float64 (n,): clipped means of their rings; NaN where there is none.
    shape
        (ny, nx) of the image.
    sigma
        Noise of the image's sky.
    fwhm
        Of the stars, pixels.
    rings
        Radii of the rings, pixels.

    Returns
    -------
    psf, stars
        The model, and the number of stars in it.

    Raises
    ------
    InsufficientKernelStarsError
        If no star has a positive flux.
    """
    n, size = len(stars), stamps.shape[1] - 2 * STAMP_MARGIN
    offset = np.arange(size) - size // 2
    radius = np.hypot(offset, offset[:, None])
    core = radius <= 1.5 * fwhm
    invalid = np.isnan(stamps)
    dx, dy = stars.x - np.rint(stars.x), stars.y - np.rint(stars.y)
    model, flux = _first_model(stamps, stars, skies, dx, dy, fwhm)
    psf, kept, wing = None, np.ones(n, np.bool_), 0.0
    for _ in range(_ITERATIONS):
        sky = _sky_surface(skies - flux * wing, stars, shape)
        # Pixels without data are filled with the model where they lie, then aligned.
        filled = stamps - _each(sky)
        if invalid.any():
            filled[invalid] = _pad(shift_stamps(_pad(_each(flux) * model), -dx, -dy))[invalid]
        flux, step_x, step_y = _fit_stars(shift_stamps(filled, dx, dy), model, core)
        dx, dy = np.clip(dx + step_x, -1.0, 1.0), np.clip(dy + step_y, -1.0, 1.0)
        aligned = shift_stamps(filled, dx, dy)
        expected = _each(flux) * model
        kept = _good_stars(aligned - expected, expected, sigma, core) & (flux > 0)
        if not kept.any():
            break
        # Neighbours and cosmic rays: pixels off the model give way to it.
        limit = _PIXEL_CLIP * np.hypot(np.float32(sigma), 0.05 * expected)
        off = (np.abs(aligned - expected) > limit) & (radius > 0.8 * fwhm)
        aligned = np.where(off, expected, aligned)
        polynomial = SpatialPolynomial(shape, _order(int(kept.sum())))
        terms = polynomial.terms(stars.x, stars.y)
        sn = flux * _FWHM_PER_SIGMA / (sigma * np.sqrt(4.0 * np.pi) * fwhm)
        weight = np.where(kept, 1.0 / (1.0 / np.maximum(sn, 1.0) ** 2 + _SYSTEMATIC**2), 0.0)
        relative = aligned / _each(np.where(kept, flux, np.inf))
        psf = PsfModel(_stack(relative, terms, weight, fwhm), polynomial)
        model = np.tensordot(terms, psf.coefficients, axes=(1, 0)).astype(np.float32)
        wing = float(fit_moffat(psf.coefficients[0], fwhm)(np.mean(rings)))
    if psf is None:
        raise InsufficientKernelStarsError(
            f"none of {n} candidate stars has a positive flux; the PSF cannot be measured",
            psf_stars=0,
        )
    return psf, int(kept.sum())


def _order(n_stars: int) -> int:
    if n_stars >= _QUADRATIC_STARS:
        return 2
    return 1 if n_stars >= _LINEAR_STARS else 0


def _first_model(
    stamps: Stamps, stars: PsfStars, skies: Array, dx: Array, dy: Array, fwhm: float
) -> tuple[Stamps, Array]:
    """Median of the brightest stars as a first model for all, and all fluxes."""
    n, size = len(stars), stamps.shape[1] - 2 * STAMP_MARGIN
    good_sky = skies[np.isfinite(skies)]
    sky = float(np.median(good_sky)) if good_sky.size else 0.0
    offset = np.arange(size) - size // 2
    radius = np.hypot(offset, offset[:, None])
    core = radius <= 1.5 * fwhm
    gauss = np.exp(-0.5 * (radius * _FWHM_PER_SIGMA / fwhm) ** 2)
    gauss = (gauss / gauss.sum()).astype(np.float32)
    aligned = shift_stamps(
        np.where(np.isnan(stamps), np.float32(0.0), stamps - np.float32(sky)), dx, dy
    )
    flux, _, _ = _fit_stars(aligned, np.broadcast_to(gauss, aligned.shape), core)
    flux = np.maximum(flux, 1e-6 * np.abs(flux).max())
    inner = slice(STAMP_MARGIN, -STAMP_MARGIN)
    few = slice(0, _STARS_OF_MEDIAN)
    relative = aligned[few] / _each(flux[few])
    relative[np.isnan(stamps[few, inner, inner])] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a pixel that no star has
        median = np.nan_to_num(np.nanmedian(relative, axis=0))
    smooth = smooth_wings(median, *_radii(_BLEND, fwhm), fit_moffat(median, fwhm))
    total = smooth.sum()
    return np.broadcast_to((smooth / total).astype(np.float32), (n, size, size)), flux * total


def _each(values: Array) -> Stamps:
    """One value for each stamp; single precision, as the stamps have."""
    return values.astype(np.float32)[:, None, None]


def _pad(stamps: Stamps) -> Stamps:
    margin = (STAMP_MARGIN, STAMP_MARGIN)
    return np.pad(stamps, ((0, 0), margin, margin))


def _sky_surface(skies: Array, stars: PsfStars, shape: tuple[int, int]) -> Array:
    """Smooth surface through the rings' skies, at the stars; few rings give a constant."""
    good = np.isfinite(skies)
    if not good.any():
        return np.zeros(len(skies))
    for _ in range(3):
        terms = SpatialPolynomial(shape, _order(int(good.sum()))).terms(stars.x, stars.y)
        solution, *_ = np.linalg.lstsq(terms[good], skies[good])
        surface = np.asarray(terms @ solution)
        spread = 1.4826 * np.median(np.abs(skies[good] - surface[good]))
        clipped = np.isfinite(skies) & (np.abs(skies - surface) <= 3.0 * spread)
        if clipped.sum() < 3:
            break
        good = clipped
    return surface


def _fit_stars(aligned: Stamps, model: Stamps, core: npt.NDArray[np.bool_]) -> tuple[Array, ...]:
    """Least-squares flux and shift of each star, linearised about the model."""
    grad_y = np.asarray(np.gradient(model, axis=1))
    grad_x = np.asarray(np.gradient(model, axis=2))
    design = np.stack([model[:, core], grad_x[:, core], grad_y[:, core]], axis=1)
    design = design.astype(np.float64)
    normal = design @ design.transpose(0, 2, 1)
    vector = (design @ aligned[:, core, None].astype(np.float64))[:, :, 0]
    solution = np.linalg.solve(normal, vector[:, :, None])[:, :, 0]
    flux = solution[:, 0]
    # d(f P(x - s)) = -f s P'
    safe = np.where(flux > 0, flux, np.inf)
    return flux, -solution[:, 1] / safe, -solution[:, 2] / safe


def _good_stars(
    residual: Stamps, expected: Stamps, sigma: float, core: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Stars whose core the model fits as well as it fits most of the others."""
    variance = sigma**2 + (0.03 * expected[:, core]) ** 2
    misfit = np.sqrt(np.mean(residual[:, core] ** 2 / variance, axis=1))
    middle = np.median(misfit)
    spread = max(1.4826 * float(np.median(np.abs(misfit - middle))), 0.1 * float(middle))
    return np.asarray(misfit <= middle + _STAR_CLIP * spread)


def _radii(
    blend: tuple[float, float], fwhm: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    return (blend[0] * fwhm, blend[1] * fwhm), (_TAIL[0] * fwhm, _TAIL[1] * fwhm)


def _stack(relative: Stamps, terms: Array, weight: Array, fwhm: float) -> Array:
    """Weighted polynomial fit of every pixel over the stars, with smooth wings."""
    n, size = len(relative), relative.shape[1]
    weighted = terms * weight[:, None]
    normal = weighted.T @ terms
    # A slight pull to zero keeps a term that no star constrains from running away.
    normal += np.diag(np.append(0.0, np.full(terms.shape[1] - 1, 1e-3 * weight.sum())))
    coefficients = np.linalg.solve(normal, weighted.T @ relative.reshape(n, -1))
    coefficients = coefficients.reshape(-1, size, size)
    moffat = fit_moffat(coefficients[0], fwhm)
    none = Moffat(0.0, moffat.width, moffat.exponent)
    for k in range(len(coefficients)):
        blend, wing = (_BLEND, moffat) if k == 0 else (_BLEND_GRADIENT, none)
        coefficients[k] = smooth_wings(coefficients[k], *_radii(blend, fwhm), wing)
    total = coefficients[0].sum()
    coefficients[0] /= total
    for k in range(1, len(coefficients)):
        # The flux is in the first term alone, so the model has unit sum everywhere.
        coefficients[k] = coefficients[k] / total - coefficients[0] * coefficients[k].sum() / total
    return np.asarray(coefficients)
