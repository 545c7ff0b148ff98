"""Assess a difference image: its noise and its match before detection, its flags after it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.config import QualityLimits
from residua.subtraction.detect.matched_filter import MatchedFilter
from residua.subtraction.detect.trust.judgement import check_match, check_noise, quality_flags
from residua.subtraction.detect.trust.quality_measures import kernel_sums
from residua.subtraction.detect.trust.sky_noise import SkyNoise, sky_noise
from residua.subtraction.detect.trust.star_residuals import StarResiduals, star_residuals
from residua.subtraction.errors import BadSubtractionError
from residua.subtraction.images import FloatPlane, MaskPlane
from residua.subtraction.match.kernel import KernelFit
from residua.subtraction.noise.decorrelate import Decorrelated
from residua.subtraction.quality import QualityFlag, QualityRecord

__all__ = ["Assessment", "assess", "paired_fraction", "with_assessment"]

type BoolPlane = npt.NDArray[np.bool_]

_FWHM_PER_SIGMA = 2.3548
_PAIR_FWHM = 1.5
_LIMITING_SN = 5.0
_SAMPLE_STEP = 16
_AB_ZERO = 3631e9
"""AB magnitude 0 in nJy (Oke & Gunn 1983)."""


@dataclass(frozen=True)
class Assessment:
    """What is known of a difference image before anything is detected.

    Parameters
    ----------
    noise
        Of the sky.
    stars
        What is left of the stars.
    fwhm
        Of the difference's PSF, pixels.
    limiting_flux
        PSF flux of 5 sigma, median over the image, unit of the image.
    """

    noise: SkyNoise
    stars: StarResiduals
    fwhm: float
    limiting_flux: float


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _not_finite(image: FloatPlane, variance: FloatPlane, good: BoolPlane) -> int:
    n = 0
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            fine = np.isfinite(image[y, x]) & np.isfinite(variance[y, x])
            n += good[y, x] & (not fine)
    return n


def assess(
    white: Decorrelated,
    filtered: MatchedFilter,
    matched_template: FloatPlane,
    good: BoolPlane,
    mask: MaskPlane,
    fit: KernelFit,
    *,
    sigma: float,
    hints: tuple[str, ...],
    limits: QualityLimits,
    variance_scale: float = 1.0,
) -> Assessment:
    """Measure noise and match, and raise where the product would mislead.

    Parameters
    ----------
    white, filtered
        The decorrelated difference and its matched filter.
    matched_template
        float32 (ny, nx), in the scale of the difference.
    good, mask
        bool and int32 (ny, nx).
    fit
        The kernel fit.
    sigma
        Noise of the difference's sky as the variance has it, unit of the image.
    hints
        What is known to be wrong with the inputs, each as a clause for the error's message.
    limits
        What is tolerated.
    variance_scale
        Factor by which the noise has been corrected since the kernel was fitted.

    Raises
    ------
    BadSubtractionError
        If a pixel is not finite, or noise or match are outside the limits.
    """
    bad = _not_finite(white.image, white.variance, good)
    if bad:
        raise BadSubtractionError(
            f"{bad} pixels of the difference are not finite: report these images",
            not_finite_pixels=bad,
        )
    ny, nx = white.psf.polynomial.shape
    area = 1.0 / float(np.sum(white.psf.stamp((nx - 1) / 2, (ny - 1) / 2) ** 2))
    noise = sky_noise(
        white.image, white.variance, filtered.signal_to_noise, matched_template, good,
        sigma=sigma, effective_area=area,
    )  # fmt: skip
    check_noise(noise, limits)
    fwhm = white.psf.fwhm()
    scale = noise.noise_ratio if np.isfinite(noise.noise_ratio) else 1.0
    stars = star_residuals(
        white.image, white.variance, matched_template, good, mask,
        sigma=sigma * scale, fwhm=fwhm, variance_factor=scale**2,
    )  # fmt: skip
    check_match(
        stars,
        kernel_sum=kernel_sums(fit.kernel)[0],
        kernel_chi2=fit.chi2 / (scale * variance_scale) ** 2,
        fwhm=fwhm,
        hints=hints,
        limits=limits,
    )
    errors = filtered.flux_error[::_SAMPLE_STEP, ::_SAMPLE_STEP]
    errors = errors[np.isfinite(errors)]
    limiting = _LIMITING_SN * float(np.median(errors)) if errors.size else float("nan")
    return Assessment(noise, stars, fwhm, limiting)


def with_assessment(
    record: QualityRecord,
    assessment: Assessment,
    unit: str,
    further: Sequence[QualityFlag] = (),
) -> QualityRecord:
    """Complete a quality record with the assessment and the flags that follow.

    Parameters
    ----------
    record
        Everything else.
    assessment
        From `assess`.
    unit
        Of the images.
    further
        Flags that earlier steps raised.
    """
    noise, stars = assessment.noise, assessment.stars
    sigma2 = (assessment.fwhm / _FWHM_PER_SIGMA) ** 2
    limiting = assessment.limiting_flux
    magnitude = -2.5 * np.log10(limiting / _AB_ZERO) if unit == "nJy" else float("nan")
    record = replace(
        record,
        stars_judged=stars.stars,
        relative_residual=stars.power,
        relative_residual_low=stars.power_low,
        flux_residual=stars.flux,
        flux_residual_error=stars.flux_error,
        wing_residual=stars.wing,
        wing_residual_error=stars.wing_error,
        astrometric_shift=stars.shift,
        psf_width_residual=stars.width / sigma2,
        psf_width_scatter=stars.width_scatter / sigma2,
        noise_ratio=noise.noise_ratio,
        sky_structure=noise.structure,
        limiting_flux=limiting,
        limiting_magnitude=float(magnitude),
    )
    return replace(record, flags=(*quality_flags(record, noise, unit), *further))


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _count_paired(
    x: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
    sign: npt.NDArray[np.float64],
    distance: float,
) -> int:
    """Count those with one of the other sign within the distance; ``y`` ascends."""
    n = 0
    first = 0
    for k in range(len(x)):
        while y[k] - y[first] > distance:
            first += 1
        j = first
        while j < len(x) and y[j] - y[k] <= distance:
            apart = (x[j] - x[k]) ** 2 + (y[j] - y[k]) ** 2
            if sign[j] != sign[k] and apart <= distance * distance:
                n += 1
                break
            j += 1
    return n


def paired_fraction(
    x: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
    sign: npt.NDArray[np.float64],
    fwhm: float,
) -> float:
    """Fraction of the detections with one of the other sign within 1.5 FWHM; NaN without any."""
    if len(x) == 0:
        return float("nan")
    order = np.argsort(y, kind="stable")
    return _count_paired(x[order], y[order], sign[order], _PAIR_FWHM * fwhm) / len(x)
