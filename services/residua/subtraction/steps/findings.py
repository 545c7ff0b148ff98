"""Judge a white difference, detect in it, and measure what is detected."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from residua.subtraction.config import SubtractionConfig
from residua.subtraction.detect.matched_filter import matched_filter
from residua.subtraction.detect.source_finding import find_sources
from residua.subtraction.detect.streak_marks import mark_streaks, streak_marks
from residua.subtraction.detect.streaks import find_streaks
from residua.subtraction.detect.trust.assessment import Assessment, assess
from residua.subtraction.detect.trust.quality_measures import (
    SkyStatistics,
    kernel_sums,
    sky_statistics,
)
from residua.subtraction.detections import Detection
from residua.subtraction.engine.buffers import Loans
from residua.subtraction.engine.threads import run_beside
from residua.subtraction.images import FloatPlane
from residua.subtraction.masks import UNUSABLE
from residua.subtraction.match.kernel import KernelFit
from residua.subtraction.measure.measured_planes import MeasuredPlanes, SourcePeaks
from residua.subtraction.measure.measurements import measure_detections
from residua.subtraction.pixels.peaks import noise_level
from residua.subtraction.steps.one_grid import OneGrid
from residua.subtraction.steps.passes import preview
from residua.subtraction.steps.roles import Roles
from residua.subtraction.steps.white_difference import WhiteDifference

__all__ = ["Findings", "detect_and_measure"]


@dataclass(frozen=True)
class Findings:
    """What a difference shows, and how far it can be trusted.

    Parameters
    ----------
    shown
        float32 (ny, nx): the template in the scale of the difference.
    sky_noise
        Of the difference as its variance has it, unit of the image.
    assessment
        Of noise and match.
    streaks
        Trails; see `residua.subtraction.detect.streak_marks.streak_marks`.
    sky
        Statistics of its sky.
    peaks, sharp
        Detections, and what is too sharp to be one.
    detections
        Measured, one for each of ``peaks``.
    """

    shown: FloatPlane
    sky_noise: float
    assessment: Assessment
    streaks: npt.NDArray[np.float64]
    sky: SkyStatistics
    peaks: SourcePeaks
    sharp: SourcePeaks
    detections: tuple[Detection, ...]


def detect_and_measure(
    grid: OneGrid,
    roles: Roles,
    fit: KernelFit,
    difference: WhiteDifference,
    config: SubtractionConfig,
    loans: Loans,
    *,
    threads: int,
) -> Findings:
    """Find what changed; refuse an image that would mislead.

    Parameters
    ----------
    grid, roles, fit, difference
        From the steps before; the mask of the roles' frame gets trails and footprints.
    config
        Choices.
    loans
        Memory.
    threads
        Threads to use; the result does not depend on it.

    Raises
    ------
    BadSubtractionError
        If the difference is outside ``config.limits``.
    """
    frame, convolved = roles.frame, roles.convolved
    white, good, mask = difference.whitened.white, difference.good, frame.merged
    visit, science_psf = grid.frame.image, roles.science_psf.psf
    filtered = matched_filter(
        white.image, white.variance, good, white.psf, threads=threads,
        out=(loans.float_plane("S/N"), loans.float_plane("flux error")),
    )  # fmt: skip
    shown = preview(frame, difference.matched, kernel_sums(fit.kernel)[0], convolved)
    sky_noise = noise_level(white.variance, mask, int(UNUSABLE))
    # Before detection: where the noise is not what it claims to be, all the sky is detections.
    noise = difference.whitened.found
    assessment = assess(
        white, filtered, shown, good, mask, fit,
        sigma=sky_noise, hints=_hints(grid), limits=config.limits,
        variance_scale=noise.scale if difference.whitened.corrected else 1.0,
    )  # fmt: skip
    streaks = streak_marks(find_streaks(white.image, white.variance, shown, good, sky_noise))
    if len(streaks):
        mark_streaks(mask, good, streaks)
        filtered = matched_filter(
            white.image, white.variance, good, white.psf,
            threads=threads, out=(filtered.signal_to_noise, filtered.flux_error),
        )  # fmt: skip
    sky = run_beside(
        lambda: sky_statistics(
            white.image, white.variance, filtered.signal_to_noise, shown, good, sky_noise
        ),
        threads=threads,
    )
    peaks, sharp = find_sources(
        white, filtered, good, mask, fit,
        frame.template if convolved == "template" else frame.image,
        frame.variance, difference.whitened.nodes,
        visit, shown, assessment.stars.power_low,
        threshold=config.detection_threshold,
        peaks_per_area=config.limits.peaks_per_area, threads=threads,
    )  # fmt: skip
    detections = measure_detections(
        peaks,
        MeasuredPlanes(
            image=white.image,
            variance=white.variance,
            psf=white.psf,
            signal_to_noise=filtered.signal_to_noise,
            good=good,
            mask=mask,
            science=visit,
            science_variance=frame.variance,
            science_psf=science_psf,
            template=shown,
            template_psf=science_psf if convolved == "template" else roles.template_psf.psf,
        ),
        grid.science.wcs,
    )
    return Findings(shown, sky_noise, assessment, streaks, sky(), peaks, sharp, detections)


def _hints(grid: OneGrid) -> tuple[str, ...]:
    return tuple(
        f"saturation was unknown: {name} is cut off at {v:.6g}"
        for name, v in grid.saturation_levels
    )
