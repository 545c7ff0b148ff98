"""How far a difference image can be trusted: its kernel and its quality record, in an outcome."""

from typing import Literal

from pydantic import Field

from residua_schemas.base import Contract

__all__ = ["KernelSummary", "Quality", "QualityFlag"]


class KernelSummary(Contract):
    """The PSF-matching kernel in numbers."""

    convolved: Literal["template", "science"] = Field(description="The image that was convolved.")
    half_width: int = Field(description="Half width, pixels.")
    basis_functions: int = Field(description="Number of basis functions.")
    spatial_order: int = Field(description="Order of the spatial variation.")
    sum: float = Field(description="Sum at the detector's centre: the photometric scale.")
    sum_variation: float = Field(description="(max - min) / centre of the sum over the detector.")
    stars: int = Field(description="Stars in the fit.")
    stars_rejected: int = Field(description="Stars clipped from the fit.")
    chi2: float | None = Field(None, description="Median reduced chi^2 of the stamps.")
    pieces: int | None = Field(
        None,
        description="Pieces of the template, parted by its PSF's seams, with own kernels.",
    )


class QualityFlag(Contract):
    """One thing about a difference image that is not as it should be."""

    name: str = Field(
        description="What it is; mostly the field of the quality record that tells.",
        examples=["astrometric_shift"],
    )
    value: float = Field(description="Measured.")
    limit: float = Field(description="What it should not be beyond.")


class Quality(Contract):
    """How far the image can be trusted; absent values could not be measured."""

    coverage: float = Field(description="Fraction of usable pixels with template data.")
    masked_fraction: float = Field(description="Fraction of pixels with an unusable mask plane.")
    science_fwhm: float | None = Field(None, description="PSF FWHM of the visit image, pixels.")
    template_fwhm: float | None = Field(
        None, description="PSF FWHM of the warped template, pixels of the visit image."
    )
    template_to_science_noise: float | None = Field(
        None, description="Median of template over science variance, matched."
    )
    pull_rms: float | None = Field(None, description="rms of difference / sigma, free sky.")
    matched_filter_sn_std: float | None = Field(
        None, description="Standard deviation of the matched-filter S/N, free sky; 1 is honest."
    )
    lag1_autocorrelation: float | None = Field(
        None, description="Noise autocorrelation at one pixel, free sky."
    )
    bright_pull_ratio: float | None = Field(
        None, description="rms pull on bright template flux over that of the sky."
    )
    star_detection_fraction: float | None = Field(
        None, description="Fraction of the detections on bright template flux."
    )
    kernel_chi2_p90_ratio: float | None = Field(
        None, description="90th percentile over median of the kernel stamps' chi^2."
    )
    science_lag1_autocorrelation: float | None = Field(
        None,
        description="Noise autocorrelation at one pixel of the visit image itself; not 0 where it "
        "was resampled before, and then in the difference too.",
    )
    variance_scale: float | None = Field(
        None, description="Noise of a pixel over what the variances say, before any correction."
    )
    noise_lag1: float | None = Field(None, description="Autocorrelation of that noise at 1 pixel.")
    noise_excess: float | None = Field(
        None, description="What both add to the standard deviation of the matched-filter S/N."
    )
    noise_excess_error: float | None = Field(None, description="Error of that.")
    noise_corrected: bool | None = Field(
        None, description="Whether difference, variance and S/N take them into account."
    )
    registration_stars: int | None = Field(
        None, ge=0, description="Stars that agree with the shift found between the images."
    )
    registration_stars_offered: int | None = Field(
        None, ge=0, description="Stars measured in both images."
    )
    registration_offset_x: float | None = Field(
        None, description="Shift at the centre, pixels of the visit image; it was applied."
    )
    registration_offset_y: float | None = Field(None, description="The same along y.")
    registration_rms: float | None = Field(None, description="rms of the whole shift, pixels.")
    registration_maximum: float | None = Field(None, description="Its maximum, pixels.")
    registration_scale: float | None = Field(
        None, description="Correlation length of its smooth part, pixels; 0 where there is none."
    )
    detections_positive: int = Field(description="Peaks with S/N at or above the threshold.")
    detections_negative: int = Field(description="Peaks with S/N at or below minus the threshold.")
    stars_judged: int | None = Field(
        None, ge=0, description="Stars on which the residuals were measured."
    )
    relative_residual: float | None = Field(
        None, description="What is left of the stars, as a fraction of their own image."
    )
    relative_residual_low: float | None = Field(None, description="How much of that is certain.")
    flux_residual: float | None = Field(
        None, description="Median residual flux over flux of the stars."
    )
    flux_residual_error: float | None = Field(None, description="Error of that.")
    wing_residual: float | None = Field(
        None, description="The same at 1.5 to 3.5 FWHM from the stars."
    )
    wing_residual_error: float | None = Field(None, description="Error of that.")
    astrometric_shift: float | None = Field(
        None, description="Shift between the images that the stars' residuals show, pixels."
    )
    psf_width_residual: float | None = Field(
        None,
        description="Relative excess of the visit image's PSF width over the matched template's.",
    )
    psf_width_scatter: float | None = Field(None, description="Its scatter from star to star.")
    noise_ratio: float | None = Field(
        None, description="Robust standard deviation of difference / sigma, free sky."
    )
    sky_structure: float | None = Field(
        None, description="Robust standard deviation of the S/N on free sky over noise_ratio."
    )
    dipole_fraction: float | None = Field(
        None, description="Fraction of the detections beside one of the other sign."
    )
    limiting_flux: float | None = Field(
        None, description="PSF flux of a point source of 5 sigma, unit of the image."
    )
    limiting_magnitude: float | None = Field(
        None, description="The same as AB magnitude; absent unless the unit is nJy."
    )
    flags: tuple[QualityFlag, ...] | None = Field(
        None,
        description="What is not as it should be, by name and number; empty for a sound image, "
        "absent before 1.3.",
    )
