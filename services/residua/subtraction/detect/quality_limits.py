"""The limits on the quality record."""

from residua.subtraction.config import QualityLimits
from residua.subtraction.errors import BadSubtractionError
from residua.subtraction.quality import QualityRecord

__all__ = ["check_noise", "check_quality"]


def check_noise(sn_std: float, limits: QualityLimits, sky_pixels: int) -> None:
    """Raise if the noise of the sky, known before anything is detected, is outside the limits.

    Parameters
    ----------
    sn_std
        ``matched_filter_sn_std`` of the quality record.
    limits
        What is tolerated.
    sky_pixels
        Source-free pixels of the image; under ``limits.minimum_sky_pixels`` nothing is judged.

    Raises
    ------
    BadSubtractionError
        With the measured value and the limit.
    """
    limit = limits.matched_filter_sn_std_deviation
    if limit is None or sky_pixels < limits.minimum_sky_pixels or abs(sn_std - 1.0) <= limit:
        return
    raise BadSubtractionError(
        f"the noise of the difference's sky is not what the variance planes say: its S/N has the "
        f"standard deviation {sn_std:.3f} (limit 1 +- {limit:g}): inspect the variance planes and "
        "the background",
        matched_filter_sn_std=sn_std,
        matched_filter_sn_std_limit=limit,
    )


def check_quality(record: QualityRecord, limits: QualityLimits, sky_pixels: int) -> None:
    """Raise if the record is outside the limits.

    Parameters
    ----------
    record
        Measured quality.
    limits
        What is tolerated.
    sky_pixels
        Source-free pixels of the image; under ``limits.minimum_sky_pixels`` nothing is
        judged: on a small cut-out one star of high proper motion is a large fraction.

    Raises
    ------
    BadSubtractionError
        With the measured values and the limits of every violation.
    """
    found: dict[str, tuple[float, float, bool]] = {}
    judged = sky_pixels >= limits.minimum_sky_pixels
    peaks = record.detections_positive + record.detections_negative
    enough_peaks = judged and peaks >= limits.minimum_detections
    if limits.star_detection_fraction is not None and enough_peaks:
        found["star_detection_fraction"] = (
            record.star_detection_fraction,
            limits.star_detection_fraction,
            record.star_detection_fraction > limits.star_detection_fraction,
        )
    if limits.bright_pull_ratio is not None and judged:
        found["bright_pull_ratio"] = (
            record.bright_pull_ratio,
            limits.bright_pull_ratio,
            record.bright_pull_ratio > limits.bright_pull_ratio,
        )
    if limits.matched_filter_sn_std_deviation is not None and judged:
        found["matched_filter_sn_std"] = (
            record.matched_filter_sn_std,
            limits.matched_filter_sn_std_deviation,
            abs(record.matched_filter_sn_std - 1.0) > limits.matched_filter_sn_std_deviation,
        )
    broken = {name: (value, limit) for name, (value, limit, bad) in found.items() if bad}
    if not broken:
        return
    said = ", ".join(
        f"{name} is {value:.3f} (limit {'1 +- ' if name.endswith('std') else ''}{limit:g})"
        for name, (value, limit) in broken.items()
    )
    numbers = {name: value for name, (value, _) in broken.items()}
    numbers |= {f"{name}_limit": limit for name, (_, limit) in broken.items()}
    raise BadSubtractionError(
        f"the difference image is not trustworthy: {said}; inspect the template and the limits",
        **numbers,
    )
