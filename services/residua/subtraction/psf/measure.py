"""Measurement of the point-spread function from an image's own stars."""

from dataclasses import dataclass

import numpy as np

from residua.subtraction.errors import (
    InsufficientKernelStarsError,
    NumericalError,
    numerical_steps,
)
from residua.subtraction.images import FloatPlane, MaskPlane, PsfModel
from residua.subtraction.masks import UNUSABLE
from residua.subtraction.pixels.peaks import noise_level
from residua.subtraction.psf.adaptive_moments import stamp_width
from residua.subtraction.psf.stack import STAMP_MARGIN, cut_stamps, ring_skies
from residua.subtraction.psf.star_average import average_stars
from residua.subtraction.psf.star_search import select_psf_stars
from residua.subtraction.psf.stars import UNUSABLE_FOR_PSF, FoundStars, OtherImage, flag_neighbours

__all__ = ["MeasuredPsf", "measure_psf", "psf_of_stars"]

_FWHM_PER_SIGMA = 2.3548
_MINIMUM_HALF_WIDTH, _MAXIMUM_HALF_WIDTH = 12, 50
_HALF_WIDTH_PER_FWHM = 5.0
_SKY_RING = (5.5, 8.0)
_PIXEL_CLIP = 4.0


@dataclass(frozen=True)
class MeasuredPsf:
    """A PSF measured on an image.

    Parameters
    ----------
    psf
        The model.
    stars
        Number of stars in it.
    found
        The stars that it was measured on, and what else there is.
    misfit
        Logarithm of the model's width over that of its stars.
    """

    psf: PsfModel
    stars: int
    found: FoundStars
    misfit: float


def measure_psf(
    image: FloatPlane,
    variance: FloatPlane,
    mask: MaskPlane,
    *,
    half_width: int | None = None,
    maximum_stars: int = 120,
    other: OtherImage | None = None,
) -> tuple[PsfModel, int]:
    """Measure the PSF: `psf_of_stars`, of which this gives model and number of stars."""
    found = psf_of_stars(
        image, variance, mask, half_width=half_width, maximum_stars=maximum_stars, other=other
    )
    return found.psf, found.stars


def psf_of_stars(
    image: FloatPlane,
    variance: FloatPlane,
    mask: MaskPlane,
    *,
    half_width: int | None = None,
    maximum_stars: int = 120,
    other: OtherImage | None = None,
    among: FoundStars | None = None,
) -> MeasuredPsf:
    """Measure the PSF from isolated, unsaturated stars.

    Stars are aligned by Lanczos-5 interpolation on their fitted positions, scaled by their
    fitted flux and averaged, each pixel with a polynomial over the image: constant, linear
    from 12 stars, quadratic from 40. The sky is a smooth surface through clipped means of
    rings at 5.5 to 8 FWHM, corrected for the wing that reaches there, so that subtracting it
    takes no flux from the wings. Beyond the core the wings are smooth radial profiles with a
    quadrupole.

    Parameters
    ----------
    image
        float32 (ny, nx), background-subtracted.
    variance
        float32 (ny, nx).
    mask
        int32 (ny, nx).
    half_width
        Half width of the model in pixels; default five FWHM, from 12 to 50.
    maximum_stars
        Use at most so many of the brightest stars.
    other
        Another image of the same sky on the same pixels.
    among
        Stars to measure it on; default those that are found.

    Returns
    -------
    MeasuredPsf
        Of unit sum.

    Raises
    ------
    InsufficientKernelStarsError
        If no star is found.
    NumericalError
        If the stars found do not determine a finite model.
    """
    ny, nx = image.shape
    sigma = noise_level(variance, mask, int(UNUSABLE))
    found = among
    if np.isfinite(sigma) and found is None:
        found = select_psf_stars(image, mask, sigma, maximum_stars, other)
    if found is None or len(found.stars) == 0:
        raise InsufficientKernelStarsError(
            "no isolated unsaturated star to measure the PSF from: give a PSF model with the "
            "image or use a larger image",
            psf_stars=0,
        )
    stars, peaks = found.stars, found.peaks
    fwhm = _FWHM_PER_SIGMA * float(np.median(stars.sigma))
    if half_width is None:
        half_width = int(
            np.clip(np.ceil(_HALF_WIDTH_PER_FWHM * fwhm), _MINIMUM_HALF_WIDTH, _MAXIMUM_HALF_WIDTH)
        )
    rings = (_SKY_RING[0] * fwhm, _SKY_RING[1] * fwhm)
    reach = int(np.ceil(max(rings[1], half_width + STAMP_MARGIN)))
    neighbours = flag_neighbours(stars, peaks, sigma, reach, fwhm)
    skies = ring_skies(
        image, mask, UNUSABLE_FOR_PSF, stars.x, stars.y, neighbours, rings, _PIXEL_CLIP * sigma
    )
    stamps = cut_stamps(image, stars.x, stars.y, half_width + STAMP_MARGIN, np.nan)
    unusable = cut_stamps(mask, stars.x, stars.y, half_width + STAMP_MARGIN, 0) & UNUSABLE_FOR_PSF
    stamps[unusable != 0] = np.nan
    del unusable  # as large as the stamps
    rim = reach - half_width - STAMP_MARGIN
    stamps[neighbours[:, rim : rim + stamps.shape[1], rim : rim + stamps.shape[2]]] = np.nan
    with numerical_steps("the measurement of the PSF", psf_stars=len(stars), fwhm=fwhm):
        psf, n_stars = average_stars(stamps, stars, skies, (ny, nx), sigma, fwhm, rings)
    if not (np.all(np.isfinite(psf.coefficients)) and np.isfinite(psf.fwhm())):
        raise NumericalError(
            f"the PSF measured from {n_stars} stars of {fwhm:.2f} px FWHM is not finite: give a "
            "PSF model with the image, and report this image",
            psf_stars=n_stars,
            fwhm=fwhm,
        )
    width = stamp_width(psf.stamp((nx - 1) / 2, (ny - 1) / 2))
    return MeasuredPsf(psf, n_stars, found, float(np.log(width * _FWHM_PER_SIGMA / fwhm)))
