"""Both images of a pair have the same stars: what one of them knows better, the other is told."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from residua.subtraction.errors import InsufficientKernelStarsError, NumericalError
from residua.subtraction.images import FloatPlane, MaskPlane
from residua.subtraction.masks import UNUSABLE
from residua.subtraction.pixels.peaks import noise_level
from residua.subtraction.psf.adaptive_moments import adaptive_moments
from residua.subtraction.psf.given import ChosenPsf
from residua.subtraction.psf.measure import psf_of_stars
from residua.subtraction.psf.star_locus import PsfStars
from residua.subtraction.psf.star_search import binning_of
from residua.subtraction.psf.stars import UNUSABLE_FOR_PSF

__all__ = ["LARGEST_MISFIT", "with_stars_of"]

LARGEST_MISFIT = 0.10
"""Of ln width, between a model and its own stars: 0.02 where the stars are stars."""
_NARROWER = 0.08
_LEAST_SN = 8.0
_LONE_SN = 20.0


def with_stars_of(
    own: ChosenPsf, other: ChosenPsf, image: FloatPlane, variance: FloatPlane, mask: MaskPlane
) -> ChosenPsf:
    """Measure a PSF on the other image's stars where its own are none.

    So it is if the other image's stars are narrower here than those that passed for stars, or if
    the model does not have the width of the stars that it was measured on. Where each image has a
    star or two among galaxies, it is measured on those of both.

    Parameters
    ----------
    own
        As it was measured on this image.
    other
        As it was measured on the other image.
    image, variance, mask
        This image.

    Returns
    -------
    ChosenPsf
        The own one where it was given, where nothing speaks against it, or where the other
        image's stars give no better one.
    """
    if own.measured is None or other.measured is None:
        return own
    sigma = noise_level(variance, mask, int(UNUSABLE))
    there = other.measured.found.stars
    x, y = (np.rint(v).astype(np.int64) for v in (there.x, there.y))
    fwhm = 2.3548 * float(np.median(there.sigma))
    moments = adaptive_moments(
        image, mask, UNUSABLE_FOR_PSF, x, y,
        binning=binning_of(fwhm), least_peak=_LEAST_SN * sigma,
    )  # fmt: skip
    peak_sn = image[y, x].astype(np.float64) / sigma
    stars = _shown(moments, peak_sn)
    if not len(stars):
        return own
    both_lone = own.measured.found.lone and other.measured.found.lone
    if both_lone:
        stars = _union(own.measured.found.stars, stars, fwhm)
    narrower = np.log(float(np.median(own.measured.found.stars.sigma) / np.median(stars.sigma)))
    misfit = abs(own.measured.misfit)
    doubtful = narrower > _NARROWER or (misfit > LARGEST_MISFIT and narrower > -_NARROWER)
    if not (doubtful or (both_lone and len(stars) > len(own.measured.found.stars))):
        return own
    among = replace(own.measured.found, stars=stars)
    try:
        found = psf_of_stars(image, variance, mask, among=among)
    except (InsufficientKernelStarsError, NumericalError):
        return own
    if not abs(found.misfit) < max(misfit, LARGEST_MISFIT):
        return own
    return replace(own, psf=found.psf, measured=found)


def _shown(moments: npt.NDArray[np.float64], peak_sn: npt.NDArray[np.float64]) -> PsfStars:
    """Objects that have a width and stand out of the noise, brightest first."""
    shown = np.flatnonzero(np.isfinite(moments[:, 2]) & (peak_sn > _LEAST_SN))
    shown = shown[np.argsort(-peak_sn[shown], kind="stable")]
    return PsfStars(moments[shown, 0], moments[shown, 1], moments[shown, 2], peak_sn[shown])


def _union(own: PsfStars, others: PsfStars, fwhm: float) -> PsfStars:
    """Own stars and those of the others that are none of them, brightest first."""
    apart = np.hypot(others.x[:, None] - own.x, others.y[:, None] - own.y).min(axis=1)
    new = others.select((apart > fwhm) & (others.peak_sn >= _LONE_SN))
    names = ("x", "y", "sigma", "peak_sn")
    both = PsfStars(*(np.append(getattr(own, n), getattr(new, n)) for n in names))
    return both.select(np.argsort(-both.peak_sn, kind="stable"))
