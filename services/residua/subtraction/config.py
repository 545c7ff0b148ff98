"""Everything that may be chosen about a subtraction; hashed into the run's identity."""

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["QualityLimits", "SubtractionConfig"]


@dataclass(frozen=True)
class QualityLimits:
    """Limits on the quality record beyond which a subtraction fails.

    Defaults are the thresholds of the numerical study behind the method; `None` switches a
    limit off.

    Parameters
    ----------
    star_detection_fraction
        Largest fraction of abs(S/N) > 5 peaks that lie on bright template flux.
    bright_pull_ratio
        Largest rms pull on bright template flux over the sky's pull.
    matched_filter_sn_std_deviation
        Largest abs(S - 1) on source-free pixels. White input noise gives 0.02; resampled real
        frames were seen up to 0.09 (see ``science_lag1_autocorrelation`` of the record).
    minimum_sky_pixels
        Source-free pixels below which the statistics above are not judged.
    minimum_detections
        Number of peaks below which `star_detection_fraction` is not judged.
    """

    star_detection_fraction: float | None = 0.15
    bright_pull_ratio: float | None = 1.3
    matched_filter_sn_std_deviation: float | None = 0.15
    minimum_sky_pixels: int = 250_000
    minimum_detections: int = 20


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
        Order of the differential background.
    minimum_kernel_stars
        Fewer usable stars than this fail the subtraction.
    minimum_coverage
        Fraction of the detector's usable pixels that must have template data; below it the
        visit-detector is skipped.
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
    detection_threshold: float = 5.0
    limits: QualityLimits = field(default_factory=QualityLimits)
