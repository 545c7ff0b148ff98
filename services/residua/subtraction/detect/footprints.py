"""Footprints of detections: each connected region is labelled once and grown once.

The cost is bounded by the number of pixels, whatever lies in them: a ghost, a comet, or noise
that was understated and makes every pixel a detection.
"""

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.engine.runs import connect, runs
from residua.subtraction.images import FloatPlane, MaskPlane
from residua.subtraction.masks import MaskBit

__all__ = ["mark_footprints"]

type Integers = npt.NDArray[np.int64]

_GROWTH_SIGMAS = 2.4


def mark_footprints(
    mask: MaskPlane,
    signal_to_noise: FloatPlane,
    x: Integers,
    y: Integers,
    threshold: float,
    fwhm: float,
) -> int:
    """Set ``DETECTED`` and ``DETECTED_NEGATIVE`` on the sources' footprints, in place.

    A footprint is the connected region beyond the threshold around a detection (8 neighbours),
    grown by 2.4 sigma of the PSF. Regions are found as runs of pixels joined from row to row
    (Rosenfeld & Pfaltz 1966), and grown run by run.

    Parameters
    ----------
    mask
        int32 (ny, nx), changed.
    signal_to_noise
        float32 (ny, nx); NaN belongs to no region.
    x, y
        int64 (n,): pixels of the accepted detections.
    threshold
        abs(S/N) at which footprints end.
    fwhm
        Of the difference's PSF, pixels.

    Returns
    -------
    int
        Pixels written, those written again included: the cost, at most ``2 r + 1`` times the
        regions' pixels and their margins for a growth by ``r`` pixels.
    """
    radius = round(_GROWTH_SIGMAS * fwhm / 2.3548)
    written = 0
    for sign, bit in ((1.0, MaskBit.DETECTED), (-1.0, MaskBit.DETECTED_NEGATIVE)):
        of_sign = np.sign(signal_to_noise[y, x]) == sign
        if not of_sign.any():
            continue
        limit = np.float32(threshold)
        rows, first, last, starts = runs(signal_to_noise, np.float32(sign), limit)
        parent = connect(first, last, starts)
        kept = _kept(parent, first, starts, x[of_sign], y[of_sign])
        written += _grow(rows, first, last, parent, kept, radius, np.int32(bit), mask)
    return written


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _kept(
    parent: Integers, first: Integers, starts: Integers, x: Integers, y: Integers
) -> npt.NDArray[np.bool_]:
    """Roots whose region holds a detection."""
    kept = np.zeros(parent.size, np.bool_)
    for k in range(x.size):
        low, high = starts[y[k]], starts[y[k] + 1]
        run = low + np.searchsorted(first[low:high], x[k], side="right") - 1
        if run >= low:
            kept[parent[run]] = True
    return kept


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _grow(
    rows: Integers,
    first: Integers,
    last: Integers,
    parent: Integers,
    kept: npt.NDArray[np.bool_],
    radius: int,
    bit: np.int32,
    mask: MaskPlane,
) -> int:
    """Set the bit within a radius of the kept runs; a run and a disc make a stadium."""
    ny, nx = mask.shape
    reach = np.empty(2 * radius + 1, np.int64)
    for d in range(-radius, radius + 1):
        reach[d + radius] = int(np.sqrt(radius * radius - d * d))
    written = 0
    for run in range(rows.size):
        if not kept[parent[run]]:
            continue
        y = rows[run]
        for b in range(max(y - radius, 0), min(y + radius + 1, ny)):
            wide = reach[b - y + radius]
            low, high = max(first[run] - wide, 0), min(last[run] + wide + 1, nx)
            row = mask[b]
            for a in range(low, high):
                row[a] |= bit
            written += high - low
    return written
