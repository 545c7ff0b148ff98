"""The quality record of a difference image: what every step measured, and what it flags."""

from collections.abc import Sequence

import numpy as np

from residua.subtraction.detect.trust.assessment import paired_fraction, with_assessment
from residua.subtraction.detect.trust.narrow_sources import check_psf_width
from residua.subtraction.detect.trust.quality_measures import (
    input_autocorrelation,
    kernel_sums,
    star_peaks,
)
from residua.subtraction.match.kernel import KernelFit
from residua.subtraction.psf.measure import MeasuredPsf
from residua.subtraction.psf.same_stars import LARGEST_MISFIT
from residua.subtraction.psf.star_locus import BRIGHT_SN
from residua.subtraction.quality import QualityFlag, QualityRecord
from residua.subtraction.steps.findings import Findings
from residua.subtraction.steps.kept import kept_quality
from residua.subtraction.steps.one_grid import OneGrid
from residua.subtraction.steps.roles import Roles
from residua.subtraction.steps.white_difference import WhiteDifference

__all__ = ["quality_record"]

_FEW_SHARP = 2
_STAR_WIDTHS = 0.045
"""Scatter of the widths of PSF stars beyond which they are none."""
_LEAST_PSF_STARS, _LEAST_AMONG_GALAXIES = 3, 6
_SCALE_ERROR = 0.03
"""Of a kernel's sum that stands on a single star."""


def quality_record(
    grid: OneGrid, roles: Roles, fit: KernelFit, difference: WhiteDifference, found: Findings
) -> QualityRecord:
    """Put together what the steps know of the image's quality.

    Parameters
    ----------
    grid, roles, fit, difference, found
        The steps, in their order.

    Returns
    -------
    QualityRecord
        In its kept form.

    Raises
    ------
    InsufficientKernelStarsError
        If the PSF stands on little, and new sources are narrower than it.
    """
    registration, noise = grid.registration, difference.whitened.found
    peaks, statistics, good = found.peaks, found.sky, difference.good
    shown, sky_noise = found.shown, found.sky_noise
    kernel_sum, kernel_sum_variation = kernel_sums(fit.kernel)
    record = QualityRecord(
        coverage=grid.coverage,
        kernel_stars=fit.stars,
        kernel_stars_rejected=fit.rejected,
        kernel_half_width=roles.half_width,
        kernel_basis_functions=fit.basis.n_basis,
        kernel_spatial_order=fit.kernel.polynomial.order,
        kernel_pieces=len(fit.pieces),
        kernel_sum=kernel_sum,
        kernel_sum_variation=kernel_sum_variation,
        kernel_chi2=fit.chi2,
        kernel_chi2_p90_ratio=fit.chi2_p90_ratio,
        science_fwhm=roles.science_psf.psf.fwhm(),
        template_fwhm=roles.template_psf.psf.fwhm(),
        template_to_science_noise=(difference.template_noise / difference.science_noise) ** 2,
        pull_rms=statistics.pull_rms,
        matched_filter_sn_std=statistics.matched_filter_sn_std,
        lag1_autocorrelation=statistics.lag1_autocorrelation,
        bright_pull_ratio=statistics.bright_pull_rms / statistics.pull_rms,
        star_detection_fraction=star_peaks(shown, peaks.x, peaks.y, sky_noise),
        masked_fraction=1.0 - np.count_nonzero(good) / good.size,
        dipole_fraction=paired_fraction(peaks.x, peaks.y, peaks.sign, found.assessment.fwhm),
        detections_positive=int(np.count_nonzero(peaks.sign > 0)),
        detections_negative=int(np.count_nonzero(peaks.sign < 0)),
        science_lag1_autocorrelation=input_autocorrelation(
            roles.frame.image, shown, good, sky_noise
        ),
        variance_scale=noise.scale,
        noise_lag1=noise.lag1,
        noise_excess=noise.excess,
        noise_excess_error=noise.excess_error,
        noise_corrected=difference.whitened.corrected,
        registration_stars=registration.stars,
        registration_stars_offered=registration.offered,
        registration_offset_x=registration.offset[0],
        registration_offset_y=registration.offset[1],
        registration_rms=registration.rms,
        registration_maximum=registration.maximum,
        registration_scale=registration.scale,
    )
    flags = _flags(grid, roles, fit, difference, found)
    return kept_quality(with_assessment(record, found.assessment, grid.science.unit, flags))


def _flags(
    grid: OneGrid, roles: Roles, fit: KernelFit, difference: WhiteDifference, found: Findings
) -> list[QualityFlag]:
    """Flag what the limits of the record alone do not tell."""
    noise = difference.whitened.found
    flags = [QualityFlag("saturation_unknown", v, 0.0) for _, v in grid.saturation_levels]
    if noise.variation.significant:
        flags.append(QualityFlag("variance_varies", noise.variation.rms, 0.0))
    psfs = [p.measured for p in (roles.science_psf, roles.template_psf) if p.measured is not None]
    doubts = _psf_flags(psfs)
    if doubts:
        check_psf_width(found.detections, found.assessment.fwhm, min(map(_bright_stars, psfs)))
    flags += doubts
    if roles.sharp_in_both > _FEW_SHARP:
        flags.append(QualityFlag("sharp_in_both", roles.sharp_in_both, _FEW_SHARP))
    if fit.scale_error > _SCALE_ERROR:
        flags.append(QualityFlag("kernel_scale", fit.scale_error, _SCALE_ERROR))
    if fit.without_kernel:
        flags.append(QualityFlag("pieces_without_kernel", fit.without_kernel, 0.0))
    if len(found.streaks):
        flags.append(QualityFlag("streak", len(found.streaks), 0.0))
    return flags


def _psf_flags(psfs: Sequence[MeasuredPsf]) -> list[QualityFlag]:
    """Flag PSFs that may not be those of stars, the worse of the two images for each reason."""
    if not psfs:
        return []
    flags = []
    scatter = float(np.fmax.reduce([m.found.width_scatter for m in psfs]))
    misfit = max((m.misfit for m in psfs), key=lambda v: np.nan_to_num(abs(v)))
    few = [f for f in map(_few_stars, psfs) if f is not None]
    if scatter > _STAR_WIDTHS:
        flags.append(QualityFlag("psf_star_widths", scatter, _STAR_WIDTHS))
    if abs(misfit) > LARGEST_MISFIT:
        flags.append(QualityFlag("psf_misfit", misfit, LARGEST_MISFIT))
    if few:
        flags.append(min(few, key=lambda f: f.value))
    return flags


def _few_stars(psf: MeasuredPsf) -> QualityFlag | None:
    """Flag a PSF that stands on hardly any bright star, or on few of those that galaxies hide."""
    bright = _bright_stars(psf)
    least = _LEAST_AMONG_GALAXIES if psf.found.galaxies_prevail else _LEAST_PSF_STARS
    return QualityFlag("psf_few_stars", bright, least) if bright < least else None


def _bright_stars(psf: MeasuredPsf) -> int:
    return int(np.count_nonzero(psf.found.stars.peak_sn >= BRIGHT_SN))
