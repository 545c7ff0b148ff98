"""Detections of the difference image, judged with the noise of the kernel fit."""

import numpy as np
import numpy.typing as npt

from residua.subtraction.detect.candidates import find_candidates, peak_offsets
from residua.subtraction.detect.footprints import mark_footprints
from residua.subtraction.detect.matched_filter import MatchedFilter
from residua.subtraction.detect.mismatch import mismatch_factor
from residua.subtraction.detect.sharpness import hits
from residua.subtraction.errors import BadSubtractionError
from residua.subtraction.images import FloatPlane, MaskPlane, PsfModel
from residua.subtraction.masks import MaskBit
from residua.subtraction.match.fit_variance import fit_variance
from residua.subtraction.match.kernel import KernelFit
from residua.subtraction.measure.measured_planes import SourcePeaks
from residua.subtraction.noise.decorrelate import Decorrelated
from residua.subtraction.noise.decorrelation_nodes import DecorrelationNodes
from residua.subtraction.noise.source_noise import source_noise_factor

__all__ = ["find_sources", "mark_sharp"]

_LEAST_BOUND = 200


def find_sources(
    white: Decorrelated,
    filtered: MatchedFilter,
    good: npt.NDArray[np.bool_],
    mask: MaskPlane,
    fit: KernelFit,
    source: FloatPlane,
    science_variance: FloatPlane,
    nodes: DecorrelationNodes,
    science: FloatPlane,
    matched_template: FloatPlane,
    residual: float,
    *,
    threshold: float,
    peaks_per_area: float | None,
    threads: int = 1,
) -> tuple[SourcePeaks, SourcePeaks]:
    """Detect sources of either sign and mark their footprints.

    The noise of the kernel fit counts at the peaks only: it matters on bright stars alone. So
    do the correlated noise of bright sources in a science image that was convolved, and what
    the match leaves of every star.

    Parameters
    ----------
    white, filtered
        The decorrelated difference and its matched filter.
    good
        bool (ny, nx).
    mask
        int32 (ny, nx): gets ``DETECTED`` and ``DETECTED_NEGATIVE``, and ``COSMIC_RAY`` where a
        detection is sharper than the PSF, which is left out.
    fit
        The kernel fit.
    source
        float32 (ny, nx): the image that the kernel convolved.
    science_variance
        float32 (ny, nx).
    nodes
        The decorrelation's filters.
    science, matched_template
        float32 (ny, nx): the visit image as it came, and the template in its scale.
    residual
        Part of a star's image that the match leaves on it for certain.
    threshold
        Least abs(S/N), the fit's noise included.
    peaks_per_area
        Most peaks in an effective area of the PSF; `None` allows any number.
    threads
        Threads to use; the result does not depend on it.

    Returns
    -------
    sources, sharp
        The most significant first; and what is too sharp to be a source.

    Raises
    ------
    BadSubtractionError
        If there are more than 200 peaks, and more than ``peaks_per_area`` allows.
    """
    fwhm = white.psf.fwhm()
    candidates = find_candidates(filtered.signal_to_noise, good, threshold, fwhm, threads=threads)
    if peaks_per_area is not None:
        areas = int(np.count_nonzero(good)) / _effective_area(white.psf)
        _check_density(len(candidates), int(peaks_per_area * areas), threshold)
    factor = 1.0 + _effective_area(white.psf) * fit_variance(
        fit, source, candidates.x, candidates.y
    ) / white.variance[candidates.y, candidates.x].astype(np.float64)
    if fit.convolved == "science":
        factor += source_noise_factor(
            white.variance, good, science_variance, white.psf, nodes, fit.kernel,
            candidates.x, candidates.y,
        ) - 1.0  # fmt: skip
    factor += mismatch_factor(
        matched_template, white.variance, white.psf, candidates.x, candidates.y, residual
    ) - 1.0  # fmt: skip
    accepted = np.abs(candidates.signal_to_noise) >= threshold * np.sqrt(factor)
    candidates, factor = candidates.select(accepted), factor[accepted]
    dx, dy = peak_offsets(candidates, filtered.signal_to_noise)
    peaks = SourcePeaks(
        candidates.x, candidates.y, dx, dy, np.sign(candidates.signal_to_noise), factor
    )
    hit = hits(white.image, white.variance, good, white.psf, peaks, science, matched_template)
    sharp = peaks.select(hit)
    mark_sharp(mask, sharp.x, sharp.y)
    peaks = peaks.select(~hit)
    mark_footprints(mask, filtered.signal_to_noise, peaks.x, peaks.y, threshold, fwhm)
    return peaks, sharp


def mark_sharp(
    mask: MaskPlane,
    x: npt.NDArray[np.integer],
    y: npt.NDArray[np.integer],
) -> None:
    """Set ``COSMIC_RAY`` on 3 x 3 px around places that may lie beyond the plane."""
    for column, row in zip(x.tolist(), y.tolist(), strict=True):
        box = (
            slice(max(row - 1, 0), max(row + 2, 0)),
            slice(max(column - 1, 0), max(column + 2, 0)),
        )
        mask[box] |= np.int32(MaskBit.COSMIC_RAY)


def _check_density(peaks: int, most: int, threshold: float) -> None:
    """Refuse a list that no sky makes, before its cost is paid."""
    most = max(_LEAST_BOUND, most)
    if peaks > most:
        raise BadSubtractionError(
            f"{peaks} peaks lie beyond {threshold:g} sigma (peaks_per_area allows {most}): the "
            "noise is understated, or the images do not show the same sky",
            peaks=peaks,
            peaks_limit=most,
            threshold=threshold,
        )


def _effective_area(psf: PsfModel) -> float:
    ny, nx = psf.polynomial.shape
    return 1.0 / float(np.sum(psf.stamp((nx - 1) / 2, (ny - 1) / 2) ** 2))
