"""How much sharper than the PSF a detection is: hits of cosmic rays beyond the pixel test.

A hit of a few pixels, resampled or on noise, passes `residua.subtraction.pixels.cosmic_rays`, but
its image is narrower than any that came through the telescope.
"""

import numpy as np
import numpy.typing as npt

from residua.subtraction.images import FloatPlane, PsfModel
from residua.subtraction.measure.measured_planes import SourcePeaks
from residua.subtraction.measure.photometry import disc, fit_psf
from residua.subtraction.measure.source_stamps import cut_planes, psf_stamps

__all__ = ["hits", "sharpness"]

type Array = npt.NDArray[np.float64]

_RADIUS_FWHM = 1.25
_LEAST_FWHM = 2.0
"""Below, a star is sampled too coarsely to know how sharp it is."""
_LEAST_SHARPNESS, _SIGMAS = 0.8, 5.0
"""Of 1,100 transients of 2 to 6 px FWHM none had 0.57 or 3.4 sigma; of hits on a real pair of
frames that were resampled none had less than 1.8, or 6 sigma."""
_COUNTERPART = 5.0
_AT_ONCE = 64
_FWHM_PER_SIGMA = 2.3548


def sharpness(
    image: FloatPlane,
    variance: FloatPlane,
    good: npt.NDArray[np.bool_],
    psf: PsfModel,
    peaks: SourcePeaks,
) -> tuple[Array, Array]:
    """Part of the PSF's squared width that sources lack, and its error.

    Least squares of the pixels on the PSF at the fitted place, its two derivatives and its
    Laplacian: ``dP / d(sigma^2) = (Laplacian P) / 2`` for any profile that is blurred further.

    Parameters
    ----------
    image, variance, good
        float32, float32, bool (ny, nx): decorrelated difference.
    psf
        Its PSF.
    peaks
        The detections.

    Returns
    -------
    sharpness, error
        float64 (n,): 0 for a point source, positive for what is narrower; NaN where the pixels
        do not tell.
    """
    n = len(peaks)
    if n == 0:
        return np.zeros(0), np.zeros(0)
    fwhm = psf.fwhm()
    half = int(np.ceil(_RADIUS_FWHM * fwhm)) + 2
    at = peaks.x, peaks.y
    data, spread = cut_planes(image, *at, half), cut_planes(variance, *at, half)
    usable = cut_planes(good, *at, half)
    stamps = psf_stamps(psf, *at, half)
    inside = disc(half, _RADIUS_FWHM * fwhm)
    fit = fit_psf(data, spread, usable, stamps, (peaks.dx, peaks.dy), inside, max(1.5, 0.5 * fwhm))
    profile, along_x, along_y = stamps.gradients(fit.dx, fit.dy)
    laplacian = -4.0 * profile
    for axis in (1, 2):
        laplacian += np.roll(profile, 1, axis=axis) + np.roll(profile, -1, axis=axis)
    inside = disc(half, _RADIUS_FWHM * fwhm) & usable
    terms = np.stack([profile, along_x, along_y, laplacian], axis=1)
    terms = np.where(inside[:, None], terms, 0.0).reshape(n, 4, -1)
    scale = np.sqrt(np.sum(terms**2, axis=2))
    scale = np.where(scale > 0.0, scale, 1.0)
    terms = terms / scale[:, :, None]
    normal = terms @ terms.transpose(0, 2, 1) + 1e-9 * np.eye(4)
    inverse = np.linalg.inv(normal)
    values = np.where(inside, data, 0.0).reshape(n, -1, 1)
    solution = (inverse @ (terms @ values))[:, :, 0] / scale
    weights = inverse[:, 3:] @ terms / scale[:, 3, None, None]
    error = np.sqrt(
        np.sum(weights[:, 0] ** 2 * np.where(inside, spread, 0.0).reshape(n, -1), axis=1)
    )
    area = (fwhm / _FWHM_PER_SIGMA) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        # Of the PSF alone: next to its Laplacian it says little where a source is no PSF.
        flux = np.where(fit.flux * peaks.sign > 0.0, fit.flux, np.nan)
        return -2.0 * solution[:, 3] / flux / area, np.abs(2.0 * error / flux / area)


def hits(
    image: FloatPlane,
    variance: FloatPlane,
    good: npt.NDArray[np.bool_],
    psf: PsfModel,
    peaks: SourcePeaks,
    science: FloatPlane,
    matched_template: FloatPlane,
) -> npt.NDArray[np.bool_]:
    """Tell which detections are hits: sharper than the PSF, and in one of the images alone.

    Parameters
    ----------
    image, variance, good, psf, peaks
        As in `sharpness`.
    science, matched_template
        float32 (ny, nx): the one in which a source is not must be within 5 sigma of the sky
        there and half a FWHM around; on stars and galaxies nothing is judged, nor on the sharp
        residuals at their sides.

    Returns
    -------
    numpy.ndarray
        bool (n,).
    """
    found = np.zeros(len(peaks), np.bool_)
    if psf.fwhm() < _LEAST_FWHM:
        return found
    reach = int(np.ceil(0.5 * psf.fwhm()))
    other = np.where(
        peaks.sign > 0,
        _brightest_near(matched_template, peaks, reach),
        _brightest_near(science, peaks, reach),
    )
    alone = np.flatnonzero(other < _COUNTERPART * np.sqrt(variance[peaks.y, peaks.x]))
    for first in range(0, alone.size, _AT_ONCE):
        some = alone[first : first + _AT_ONCE]
        sharp, error = sharpness(image, variance, good, psf, peaks.select(some))
        found[some] = (sharp > _LEAST_SHARPNESS) & (sharp > _SIGMAS * error)
    return found


def _brightest_near(image: FloatPlane, peaks: SourcePeaks, reach: int) -> FloatPlane:
    """Brightest pixel of the square around each peak, which ends at the image's border."""
    ny, nx = image.shape
    offset = np.arange(-reach, reach + 1)
    rows = np.clip(peaks.y[:, None] + offset, 0, ny - 1)
    columns = np.clip(peaks.x[:, None] + offset, 0, nx - 1)
    near = image[rows[:, :, None], columns[:, None, :]]
    return np.asarray(np.nanmax(near, axis=(1, 2), initial=-np.inf))
