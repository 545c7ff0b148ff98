"""Everything that may be chosen about a subtraction; hashed into the run's identity."""

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["NO_LIMITS", "QualityLimits", "SubtractionConfig"]


@dataclass(frozen=True)
class QualityLimits:
    """Limits beyond which a difference image would mislead, so that the subtraction fails.

    Everything short of them is written and flagged; see
    `residua.subtraction.detect.trust.judgement`.
    They are relative or robust figures and hold for images of any size. `None` switches one off.

    Parameters
    ----------
    relative_residual
        Largest part of the stars' own image that is left on them for certain
        (``relative_residual_low`` of the record). Sound subtractions have at most 0.024 where the
        stars rest, 0.13 were seen on a real pair of epochs five years apart whose stars moved,
        and matches with a shift of pixels or of other sky 0.6 and more.
    flux_residual
        Largest residual flux over flux of the stars, beyond twice its error.
    kernel_chi2
        Largest reduced chi^2 of the kernel's stars, freed of the variance's own error.
    noise_factor
        Largest factor between the noise of the sky and what the variance says.
    sky_structure
        Largest scatter of the matched filter's S/N on the sky over that of the pixels.
    peaks_per_area
        Most peaks in an effective area of the PSF; never judged under 200 peaks.
    """

    relative_residual: float | None = 0.20
    flux_residual: float | None = 0.03
    kernel_chi2: float | None = 10.0
    noise_factor: float | None = 2.5
    sky_structure: float | None = 1.30
    peaks_per_area: float | None = 0.1


NO_LIMITS = QualityLimits(None, None, None, None, None, None)
"""For experiments: whatever comes out is written, unless it is not finite."""


@dataclass(frozen=True)
class SubtractionConfig:
    """Choices of the subtraction chain.

    Parameters
    ----------
    convolve
        Which image to convolve; ``"auto"`` takes the sharper one.
    kernel_half_width
        Half width of the matching kernel, pixels; `None` derives it from the two PSFs.
    spatial_order
        Order of the kernel's spatial polynomial; `None` chooses by the number of stars.
    background_order
        Order of the polynomial in x and y that follows the difference of the two skies; each
        image keeps its own sky otherwise.
    minimum_kernel_stars
        Fewer usable stars than this fail the subtraction.
    minimum_coverage
        Fraction of the detector's usable pixels that must have template data; below it the
        visit-detector is skipped.
    noise_correction
        Largest factor between the noise of the sky and what the variance says up to which
        covariance found in the difference's sky is corrected: the images' own correlation, and
        a variance wrong by a factor. Beyond it the plane is no variance. `None`: none is.
    detection_threshold
        abs(S/N) of the matched filter at which pixels are flagged and peaks are listed.
    limits
        Limits on the quality record.
    """

    convolve: Literal["auto", "template", "science"] = "auto"
    kernel_half_width: int | None = None
    spatial_order: int | None = None
    background_order: int = 1
    minimum_kernel_stars: int = 3
    minimum_coverage: float = 0.1
    noise_correction: float | None = 2.5
    detection_threshold: float = 5.0
    limits: QualityLimits = field(default_factory=QualityLimits)
