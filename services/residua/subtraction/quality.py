"""The quality record: how far a difference image can be trusted, without knowing the truth."""

from dataclasses import dataclass

__all__ = ["QualityFlag", "QualityRecord"]


@dataclass(frozen=True)
class QualityFlag:
    """One thing about a difference image that is not as it should be.

    Parameters
    ----------
    name
        What it is; mostly the field of `QualityRecord` that tells, else a word of its own.
    value
        Measured.
    limit
        What it should not be beyond.
    """

    name: str
    value: float
    limit: float


@dataclass(frozen=True)
class QualityRecord:
    """Numbers measured on one difference image; NaN where a number could not be measured.

    Parameters
    ----------
    coverage
        Fraction of the detector's usable pixels that have template data.
    kernel_stars, kernel_stars_rejected
        Stars in the final kernel fit, and stars clipped from it.
    kernel_half_width
        Half width of the kernel, pixels.
    kernel_basis_functions, kernel_spatial_order
        Size of the basis and order of its spatial variation.
    kernel_sum, kernel_sum_variation
        Photometric scale at the centre, and (max - min) / centre over the detector.
    kernel_chi2
        Median reduced chi^2 of the stamps in the final fit.
    kernel_chi2_p90_ratio
        90th percentile over median of the stamps' chi^2.
    kernel_pieces
        Pieces of the template, parted by seams of its PSF, that have a kernel of their own; 0 where
        one kernel does.
    science_fwhm, template_fwhm
        PSF FWHM on the visit's grid, pixels.
    template_to_science_noise
        Median template over science variance (matched) on the visit's grid.
    pull_rms
        rms of difference / sigma on source-free pixels.
    matched_filter_sn_std
        Robust standard deviation of the matched-filter S/N on source-free pixels; 1 is honest.
    lag1_autocorrelation
        Noise autocorrelation at one pixel, mean of both axes, on source-free pixels.
    bright_pull_ratio
        rms pull where the matched template exceeds 5 sigma, over ``pull_rms``.
    star_detection_fraction
        Fraction of the peaks that lie where the matched template exceeds 20 sigma.
    masked_fraction
        Fraction of pixels that carry an unusable mask plane.
    detections_positive, detections_negative
        Peaks of the matched filter at or above the threshold, by sign.
    science_lag1_autocorrelation
        Noise autocorrelation at one pixel of the *input* science image's sky. Where it is not
        0 (resampled frames), the difference's noise is correlated too, and
        ``matched_filter_sn_std`` and the S/N of detections are high by what that correlation
        does; nothing is rescaled.
    variance_scale
        Noise of a pixel of the decorrelated sky over what the images' variances say, before
        any correction; 1 where it could not be measured.
    noise_lag1
        Autocorrelation of that noise at one pixel, mean of both axes.
    noise_excess, noise_excess_error
        What both do to the standard deviation of the matched filter's S/N, beyond 1.
    noise_corrected
        Whether the difference, its variance and its S/N take them into account.
    registration_stars, registration_stars_offered
        Stars that agree with the shift found between the images, and stars measured in both.
    registration_offset_x, registration_offset_y
        Shift at the centre, pixels of the visit image: an object at ``x`` was found where the
        template's WCS puts ``x + shift``. It was applied.
    registration_rms, registration_maximum
        Of the whole shift over the detector, pixels; 0 where both WCSs agree within what the
        stars can tell.
    registration_scale
        Correlation length of the shift's smooth part, pixels; 0 where there is none.
    stars_judged
        Stars of the matched template on which the residuals below were measured.
    relative_residual, relative_residual_low
        What is left of the stars, as a fraction of their own image (root of the median ratio of
        powers, without the noise); and how much of it is certain.
    flux_residual, flux_residual_error
        Median over the stars of residual flux over flux: what the photometric scale is off.
    wing_residual, wing_residual_error
        The same at 1.5 to 3.5 FWHM: what a kernel that is too small leaves.
    astrometric_shift
        Shift between the images that the stars' residuals show, per axis, pixels.
    psf_width_residual, psf_width_scatter
        How much wider the visit image's PSF is than the matched template's, relative, and its
        scatter from star to star: a template whose PSF jumps has a large one.
    noise_ratio
        Robust standard deviation of difference / sigma on the sky: 1 where variances are right.
    sky_structure
        Robust standard deviation of the matched-filter S/N on the sky over ``noise_ratio``.
    dipole_fraction
        Fraction of the detections that have one of the other sign within 1.5 FWHM.
    limiting_flux
        PSF flux of a point source of 5 sigma, median over the image, unit of the image.
    limiting_magnitude
        The same as AB magnitude, where the unit is nJy.
    flags
        What is not as it should be; empty for a sound image.
    """

    coverage: float
    kernel_stars: int
    kernel_stars_rejected: int
    kernel_half_width: int
    kernel_basis_functions: int
    kernel_spatial_order: int
    kernel_sum: float
    kernel_sum_variation: float
    kernel_chi2: float
    kernel_chi2_p90_ratio: float
    science_fwhm: float
    template_fwhm: float
    template_to_science_noise: float
    pull_rms: float
    matched_filter_sn_std: float
    lag1_autocorrelation: float
    bright_pull_ratio: float
    star_detection_fraction: float
    masked_fraction: float
    detections_positive: int
    detections_negative: int
    kernel_pieces: int = 0
    science_lag1_autocorrelation: float = float("nan")
    variance_scale: float = 1.0
    noise_lag1: float = float("nan")
    noise_excess: float = 0.0
    noise_excess_error: float = float("inf")
    noise_corrected: bool = False
    registration_stars: int = 0
    registration_stars_offered: int = 0
    registration_offset_x: float = 0.0
    registration_offset_y: float = 0.0
    registration_rms: float = 0.0
    registration_maximum: float = 0.0
    registration_scale: float = 0.0
    stars_judged: int = 0
    relative_residual: float = float("nan")
    relative_residual_low: float = float("nan")
    flux_residual: float = float("nan")
    flux_residual_error: float = float("nan")
    wing_residual: float = float("nan")
    wing_residual_error: float = float("nan")
    astrometric_shift: float = float("nan")
    psf_width_residual: float = float("nan")
    psf_width_scatter: float = float("nan")
    noise_ratio: float = float("nan")
    sky_structure: float = float("nan")
    dipole_fraction: float = float("nan")
    limiting_flux: float = float("nan")
    limiting_magnitude: float = float("nan")
    flags: tuple[QualityFlag, ...] = ()
