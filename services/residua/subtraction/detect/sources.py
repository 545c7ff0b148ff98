"""Detections of the difference image, judged with the noise of the kernel fit."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from astropy.wcs.wcsapi import BaseLowLevelWCS

from residua.subtraction.detect.candidates import find_candidates, list_detections
from residua.subtraction.detect.footprints import mark_footprints
from residua.subtraction.detect.matched_filter import MatchedFilter
from residua.subtraction.detections import Detection
from residua.subtraction.errors import BadSubtractionError
from residua.subtraction.images import FloatPlane, MaskPlane, PsfModel
from residua.subtraction.match.fit_variance import fit_variance
from residua.subtraction.match.kernel import KernelFit
from residua.subtraction.noise.decorrelate import Decorrelated
from residua.subtraction.noise.decorrelation_nodes import DecorrelationNodes
from residua.subtraction.noise.source_noise import source_noise_factor

__all__ = ["Sources", "find_sources"]

_LEAST_BOUND = 200


@dataclass(frozen=True)
class Sources:
    """What was detected.

    Parameters
    ----------
    detections
        Measured, in the order of ``x`` and ``y``.
    x, y
        int64 (n,): pixels of the peaks.
    """

    detections: tuple[Detection, ...]
    x: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]

    @property
    def signs(self) -> npt.NDArray[np.int64]:
        """Sign of each detection, int64 (n,)."""
        return np.array([1 if d.signal_to_noise > 0 else -1 for d in self.detections], np.int64)

    @property
    def positive(self) -> int:
        """Number of detections of more flux than in the template."""
        return sum(d.signal_to_noise > 0 for d in self.detections)


def find_sources(
    white: Decorrelated,
    filtered: MatchedFilter,
    good: npt.NDArray[np.bool_],
    mask: MaskPlane,
    fit: KernelFit,
    source: FloatPlane,
    science_variance: FloatPlane,
    nodes: DecorrelationNodes,
    wcs: BaseLowLevelWCS,
    *,
    threshold: float,
    peaks_per_area: float | None,
    threads: int = 1,
) -> Sources:
    """Detect sources of either sign, mark their footprints and measure them.

    The noise of the kernel fit counts at the peaks only: it matters on bright stars alone. So
    does the correlated noise of bright sources in a science image that was convolved.

    Parameters
    ----------
    white, filtered
        The decorrelated difference and its matched filter.
    good
        bool (ny, nx).
    mask
        int32 (ny, nx): gets ``DETECTED`` and ``DETECTED_NEGATIVE``.
    fit
        The kernel fit.
    source
        float32 (ny, nx): the image that the kernel convolved.
    science_variance
        float32 (ny, nx).
    nodes
        The decorrelation's filters.
    wcs
        Of the difference.
    threshold
        Least abs(S/N), the fit's noise included.
    peaks_per_area
        Most peaks in an effective area of the PSF; `None` allows any number.
    threads
        Threads to use; the result does not depend on it.

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
    accepted = np.abs(candidates.signal_to_noise) >= threshold * np.sqrt(factor)
    candidates, factor = candidates.select(accepted), factor[accepted]
    mark_footprints(
        mask, filtered.signal_to_noise, candidates.x, candidates.y, threshold, fwhm
    )  # fmt: skip
    detections = list_detections(candidates, filtered, factor, wcs)
    return Sources(detections, candidates.x, candidates.y)


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
