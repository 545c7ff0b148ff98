"""Hits of cosmic rays, and hot pixels: structure sharper than any star.

Of a star, the mean of two opposite neighbours is at least a known part of the pixel between
them, wherever the pixel lies on it. What falls below half of that, beyond the noise, is no light
that came through the telescope (the idea of L.A.Cosmic, van Dokkum 2001, for a known PSF).
"""

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.images import FloatPlane, MaskPlane, PsfModel
from residua.subtraction.masks import UNUSABLE, MaskBit
from residua.subtraction.pixels.moments import second_moments

__all__ = ["hits_in_both", "mark_cosmic_rays", "neighbour_ratio", "sharpness_limit"]

_LEAST_RATIO = 0.60
"""Of better sampled stars only: below, a star is as sharp as a hit."""
_PART = 0.65
_SIGMAS = 5.0
_LEAST_SN = 8.0
_BESIDE = 3.0
"""Both limits beside a hit: what is left there belongs to it."""
_ROUNDS = 3
_CORE = 0.3
_PIECE = 64


def neighbour_ratio(psf: PsfModel) -> float:
    """Least mean of two opposite neighbours over the pixel between them, in the PSF's core.

    Read off the PSF's pixels at the image's centre, where they are well known; elsewhere off
    the Gaussian of the same moments, ``exp(-1 / (2 sigma^2))``, since a polynomial through few
    stars is rough in the corners.
    """
    ny, nx = psf.polynomial.shape
    least = _core_ratio(psf.stamp(0.5 * (nx - 1), 0.5 * (ny - 1)))
    for y in (0.0, 0.5 * (ny - 1), ny - 1.0):
        for x in (0.0, 0.5 * (nx - 1), nx - 1.0):
            steepest = np.diag(np.linalg.inv(second_moments(psf.stamp(x, y)))).max()
            least = min(least, float(np.exp(-0.5 * steepest)))
    return least


def _core_ratio(stamp: npt.NDArray[np.float64]) -> float:
    inner = stamp[1:-1, 1:-1]
    core = inner > _CORE * stamp.max()
    across = 0.5 * (stamp[1:-1, :-2] + stamp[1:-1, 2:])
    along = 0.5 * (stamp[:-2, 1:-1] + stamp[2:, 1:-1])
    return float((np.minimum(across, along)[core] / inner[core]).min())


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _is_hit(
    image: FloatPlane,
    variance: FloatPlane,
    mask: MaskPlane,
    y: int,
    x: int,
    unusable: np.int32,
    hit: np.int32,
    part: np.float32,
    least: np.float32,
    sigmas: np.float32,
) -> bool:
    """Judge a pixel by its neighbours, which it has on all sides."""
    p, v = image[y, x], variance[y, x]
    if not (p > 0 and p * p > least * least * v) or (mask[y, x] & unusable) != 0:
        return False
    for axis in range(2):
        b, a = (0, 1) if axis == 0 else (1, 0)
        left, right = mask[y - b, x - a], mask[y + b, x + a]
        # Next to a hit that is known a pixel cannot be judged by it.
        total, count, noise = np.float32(0.0), 0, np.float32(0.0)
        if (left & unusable) == 0:
            total += image[y - b, x - a]
            noise += variance[y - b, x - a]
            count += 1
        if (right & unusable) == 0:
            total += image[y + b, x + a]
            noise += variance[y + b, x + a]
            count += 1
        if count == 0 or (count == 1 and ((left | right) & hit) == 0):
            continue
        gap = part * p - total / count
        error2 = part * part * v + noise / (count * count)
        if gap > 0 and gap * gap > sigmas * sigmas * error2:
            return True
    return False


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _any_sharp(
    image: FloatPlane,
    mask: MaskPlane,
    y: int,
    start: int,
    end: int,
    unusable: np.int32,
    part: np.float32,
    least2: np.float32,
    noises: npt.NDArray[np.float32],
) -> bool:
    """Whether a piece of a row can hold a hit, whose pixels `_is_hit` then looks at one by one.

    Most of a piece on a star is smooth: its mean neighbours reach what a star's must.
    """
    flags = np.int32(0)
    for j in range(y - 1, y + 2):
        row = mask[j, start - 1 : end + 1]
        for i in range(row.size):
            flags |= row[i] & unusable
    if flags != 0:
        return True
    here, two = image[y, start:end], np.float32(2.0)
    left, right = image[y, start - 1 : end - 1], image[y, start + 1 : end + 1]
    up, down = image[y - 1, start:end], image[y + 1, start:end]
    sharp = np.int32(0)
    for i in range(here.size):
        q = here[i]
        bright = (q > np.float32(0.0)) & (q * q > least2 * noises[i])
        gap = (part * q > (left[i] + right[i]) / two) | (part * q > (up[i] + down[i]) / two)
        sharp += np.int32(bright & gap)
    return bool(sharp > 0)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _find(
    image: FloatPlane,
    variance: FloatPlane,
    mask: MaskPlane,
    unusable: np.int32,
    hit: np.int32,
    part: np.float32,
    out: npt.NDArray[np.int64],
) -> int:
    ny, nx = image.shape
    least2 = np.float32(_LEAST_SN * _LEAST_SN)
    n = 0
    for y in range(1, ny - 1):
        for start in range(1, nx - 1, _PIECE):
            end = min(start + _PIECE, nx - 1)
            # Most pieces have nothing bright: vector instructions find that out.
            values, noises = image[y, start:end], variance[y, start:end]
            bright = np.int32(0)
            for i in range(values.size):
                q = values[i]
                bright += np.int32((q > np.float32(0.0)) & (q * q > least2 * noises[i]))
            if bright == 0:
                continue
            if not _any_sharp(image, mask, y, start, end, unusable, part, least2, noises):
                continue
            for x in range(start, end):
                if _is_hit(
                    image, variance, mask, y, x, unusable, hit, part,
                    np.float32(_LEAST_SN), np.float32(_SIGMAS),
                ):  # fmt: skip
                    if n < out.shape[0]:
                        out[n] = y * nx + x
                    n += 1
    return n


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _find_beside(
    image: FloatPlane,
    variance: FloatPlane,
    mask: MaskPlane,
    unusable: np.int32,
    hit: np.int32,
    part: np.float32,
    found: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Look only at the neighbours of the last round's hits: for no other has anything changed."""
    ny, nx = image.shape
    out = np.empty(4 * found.size, np.int64)
    beside = np.float32(_BESIDE)
    n = 0
    for k in range(found.size):
        for step in (-nx, -1, 1, nx):
            y, x = divmod(found[k] + step, nx)
            if not (0 < y < ny - 1 and 0 < x < nx - 1) or (mask[y, x] & unusable) != 0:
                continue
            p, v = image[y, x], variance[y, x]
            # A hit that was resampled has rings.
            ring = p < np.float32(0.0) and p * p > beside * beside * v
            if ring or _is_hit(image, variance, mask, y, x, unusable, hit, part, beside, beside):
                out[n] = y * nx + x
                n += 1
    return np.unique(out[:n])


def sharpness_limit(psf: PsfModel) -> float | None:
    """Part of a pixel that its neighbours must reach; `None` where the PSF is too sharp to tell."""
    ratio = neighbour_ratio(psf)
    return float(np.float32(_PART * ratio)) if ratio >= _LEAST_RATIO else None


def hits_in_both(one: MaskPlane, other: MaskPlane) -> int:
    """Count the pixels that are hits in both images.

    Hits are where they are by chance. What both images have is a hot pixel that did not move on
    the sky, or a star, and the PSF was measured on something wider.
    """
    hit, n = np.int32(MaskBit.COSMIC_RAY), 0
    for first in range(0, one.shape[0], _PIECE):
        rows = slice(first, first + _PIECE)
        n += int(np.count_nonzero(one[rows] & other[rows] & hit))
    return n


def mark_cosmic_rays(
    image: FloatPlane,
    variance: FloatPlane,
    limit: float | None,
    masks: tuple[MaskPlane, ...],
    *,
    most: int | None = None,
) -> int:
    """Set ``COSMIC_RAY`` on pixels sharper than the PSF allows, in place.

    Pixels beside those found are looked at again, twice: a hit of several pixels is taken off
    from its rim.

    Parameters
    ----------
    image, variance
        float32 (ny, nx), the image of one exposure.
    limit
        From `sharpness_limit`; with `None` nothing is done.
    masks
        int32 (ny, nx) each, changed; the first one says which pixels are usable.
    most
        With more hits than that nothing is marked: the variance is no variance then.

    Returns
    -------
    int
        Pixels flagged; -1 where there were too many.
    """
    if limit is None:
        return 0
    rule = np.int32(UNUSABLE), np.int32(MaskBit.COSMIC_RAY), np.float32(limit)
    places = np.empty(image.size // 64 + 64, np.int64)
    n = _find(image, variance, masks[0], *rule, places)
    if most is not None and n > most:
        return -1
    if n > places.size:
        places = np.empty(n, np.int64)
        _find(image, variance, masks[0], *rule, places)
    found = places[:n]
    total = 0
    for k in range(_ROUNDS):
        rows, columns = np.divmod(found, image.shape[1])
        for mask in masks:
            mask[rows, columns] |= np.int32(MaskBit.COSMIC_RAY)
        total += found.size
        if found.size == 0 or k == _ROUNDS - 1:
            break
        found = _find_beside(image, variance, masks[0], *rule, found)
    return total
