"""Saturation that no card and no mask tells: plateaus, and values that several tops share."""

from dataclasses import replace

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.engine.runs import connect, runs
from residua.subtraction.images import FloatPlane, MaskPlane, ScienceImage, TemplateImage
from residua.subtraction.masks import UNUSABLE, MaskBit
from residua.subtraction.pixels.peaks import noise_level

__all__ = ["flag_above", "saturation_level", "with_saturation"]

_LEAST_SN, _LEAST_SN_OF_TIES = 100.0, 50.0
_DEPTH, _LEVELS = 0.6, 4
_PLATEAU, _PEAK = 0.97, 1.03
_LEAST_AREA, _AREA, _SHARE = 4.0, 2.0, 0.088
_TOPS = 3


def saturation_level(image: FloatPlane, mask: MaskPlane, sigma: float) -> float | None:
    """Find the pixel value at which bright stars are cut off, if they are.

    From the brightest object down, at most four: an object is flat when more pixels lie within
    3 % of its top than a star of its size has. Two flat objects, and twice as many flat as
    peaked, make a saturation level; so do three tops of exactly one value.

    Parameters
    ----------
    image, mask
        float32 and int32 (ny, nx).
    sigma
        Noise of a pixel, unit of the image.
    """
    usable = np.where((mask & int(UNUSABLE)) == 0, image, np.float32(-np.inf))
    top = float(np.max(usable)) if usable.size else 0.0
    if not (np.isfinite(top) and top > _LEAST_SN_OF_TIES * sigma):
        return None
    _, peaks = _regions(usable, _PLATEAU * top)
    if np.count_nonzero(peaks == np.float32(top)) >= _TOPS:
        return top
    if not top > _LEAST_SN * sigma:
        return None
    return _plateau(usable, top, max(_DEPTH * top, _LEAST_SN * sigma))


def _plateau(usable: FloatPlane, top: float, least: float) -> float | None:
    """Level of a plateau between ``top`` and ``least``."""
    level = top
    for _ in range(_LEVELS):
        areas, peaks = _regions(usable, _PLATEAU * level)
        flat, peaked = _flat(usable, level, areas, peaks)
        if flat >= 2 and flat >= 2 * peaked:
            return _PLATEAU * level
        # The next object that is not as bright as these.
        below = usable[usable < _PLATEAU * level]
        if not below.size:
            return None
        level = float(np.max(below))
        if level < least:
            return None
    return None


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _any_bit(mask: MaskPlane, bit: np.int32) -> bool:
    """Tell whether a plane has a bit; most that do have it among the first rows."""
    for y in range(mask.shape[0]):
        found = np.int32(0)
        for x in range(mask.shape[1]):
            found |= mask[y, x] & bit
        if found != 0:
            return True
    return False


def _regions(
    image: FloatPlane, threshold: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Area and peak of each connected region above a threshold."""
    rows, first, last, starts = runs(image, np.float32(1.0), np.float32(threshold))
    root = connect(first, last, starts)
    areas = np.bincount(root, weights=last - first + 1, minlength=root.size).astype(np.int64)
    peaks = np.full(root.size, -np.inf, np.float32)
    for k in range(root.size):
        peak = image[rows[k], first[k] : last[k] + 1].max()
        peaks[root[k]] = max(peaks[root[k]], peak)
    own = root == np.arange(root.size)
    return areas[own], peaks[own]


def _flat(
    image: FloatPlane,
    level: float,
    areas: npt.NDArray[np.int64],
    peaks: npt.NDArray[np.float32],
) -> tuple[int, int]:
    """Count objects whose top is flat, and the others of at least two pixels."""
    halves, half_peaks = _regions(image, 0.5 * level)
    # A plateau belongs to the object with the same peak: peaks of objects are their own.
    by_peak = {float(p): int(a) for p, a in zip(half_peaks, halves, strict=True)}
    flat = peaked = 0
    for area, peak in zip(areas, peaks, strict=True):
        whole = by_peak.get(float(peak), int(area))
        if area >= max(_LEAST_AREA, _AREA + _SHARE * whole) and peak <= _PEAK * level:
            flat += 1
        elif area >= 2:
            peaked += 1
    return flat, peaked


def with_saturation[Image: (ScienceImage, TemplateImage)](
    image: Image,
) -> tuple[Image, float | None]:
    """Flag saturated pixels of an image whose mask knows none.

    Returns
    -------
    image, level
        The image, with a mask of its own where something was found; and the level found.
    """
    if _any_bit(np.ascontiguousarray(image.mask, np.int32), np.int32(MaskBit.SATURATED)):
        return image, None
    pixels = np.ascontiguousarray(image.image, np.float32)
    sigma = noise_level(image.variance, image.mask, int(UNUSABLE))
    level = saturation_level(np.nan_to_num(pixels, nan=-np.inf), image.mask, sigma)
    if level is None:
        return image, None
    return replace(image, mask=flag_above(pixels, image.mask, level)), level


def flag_above(image: FloatPlane, mask: MaskPlane, level: float) -> MaskPlane:
    """Copy of a mask with ``SATURATED`` where the image reaches the level."""
    saturated = np.where(image >= np.float32(level), np.int32(MaskBit.SATURATED), np.int32(0))
    return (mask | saturated).astype(np.int32)
