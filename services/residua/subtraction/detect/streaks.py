"""Trails of satellites and aircraft, found thirty times fainter than a pixel shows them.

The difference is averaged over blocks and summed along all lines (Nir, Zackay & Ofek 2018 do
the same with the pixels); what stands out must be lit over a good part of its length, which the
spikes of two stars in a row are not.
"""

import numba
import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc

from residua.subtraction.detect.radon import ORIENTATIONS, line_pixels, line_sums, oriented
from residua.subtraction.detect.streak_marks import PIECE, Streak
from residua.subtraction.images import FloatPlane

__all__ = ["find_streaks"]

type BoolPlane = npt.NDArray[np.bool_]
type Array = npt.NDArray[np.float64]

_LEAST_BLOCK, _MOST_BLOCKS = 4, 512
_SOURCE_SIGMAS = 5.0
_BACKGROUND = 32
_CLIP = 3.0
_LEAST_SN, _LEAST_COUNT = 8.0, 24
_PIECE_SN, _PIECE_CHANCE = 1.5, 0.07
_CHANCE, _LEAST_PIECES, _LIT_SPAN, _LIT_CHORD = 1e-5, 4, 0.5, 0.4
_PIECE_BRIGHT, _LIT_SPAN_BRIGHT = 4.0, 0.8
_BLANKED = 9
_MOST_STREAKS = 5
_ACROSS = 40
_EDGE_OF_PROFILE = 0.2
"""Mean surface brightness, in sigma of a pixel, down to which a trail is masked."""
_LEAST_HALF_WIDTH = 2.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _blocks(
    image: FloatPlane,
    variance: FloatPlane,
    model: FloatPlane,
    good: BoolPlane,
    block: int,
    faint: np.float32,
    z: FloatPlane,
    used: FloatPlane,
) -> None:
    """Sum of each block in units of its error; blocks with few sky pixels are 0."""
    ny, nx = image.shape
    totals, noises = np.empty(nx, np.float32), np.empty(nx, np.float32)
    counts = np.empty(nx, np.int32)
    for row in range(-(-ny // block)):
        # Columns first: that loop runs in vector instructions.
        totals[:] = 0.0
        noises[:] = 0.0
        counts[:] = 0
        for y in range(row * block, min((row + 1) * block, ny)):
            for x in range(nx):
                sky = good[y, x] & (model[y, x] < faint)
                totals[x] += image[y, x] if sky else np.float32(0.0)
                noises[x] += variance[y, x] if sky else np.float32(0.0)
                counts[x] += np.int32(sky)
        for column in range(-(-nx // block)):
            total = noise = 0.0
            n = 0
            for x in range(column * block, min((column + 1) * block, nx)):
                total += totals[x]
                noise += noises[x]
                n += counts[x]
            if 2 * n >= block * block:
                z[row, column] = total / np.sqrt(noise)
                used[row, column] = 1.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _without_background(z: FloatPlane, used: FloatPlane, out: FloatPlane) -> None:
    """Take off the medians of 32 x 32 blocks; those with too few known ones count for nothing."""
    lit = np.empty(_BACKGROUND * _BACKGROUND, np.float32)
    for top in range(0, z.shape[0], _BACKGROUND):
        for left in range(0, z.shape[1], _BACKGROUND):
            bottom = min(top + _BACKGROUND, z.shape[0])
            right = min(left + _BACKGROUND, z.shape[1])
            n = 0
            for y in range(top, bottom):
                for x in range(left, right):
                    if used[y, x] > 0:
                        lit[n] = z[y, x]
                        n += 1
            if n < _BACKGROUND:
                used[top:bottom, left:right] = 0.0
                continue
            middle = np.median(lit[:n])
            for y in range(top, bottom):
                for x in range(left, right):
                    if used[y, x] > 0:
                        out[y, x] = z[y, x] - middle


def _flattened(z: FloatPlane, used: FloatPlane) -> FloatPlane:
    """Without the background of 32 x 32 blocks, scaled to unit noise and clipped."""
    out = np.zeros_like(z)
    _without_background(z, used, out)
    some = used > 0
    if some.any():
        out /= max(1.4826 * float(np.median(np.abs(out[some]))), 1e-6)
    # One source in a block must not make a line.
    return np.clip(out, -_CLIP, _CLIP)


def find_streaks(
    image: FloatPlane,
    variance: FloatPlane,
    matched_template: FloatPlane,
    good: BoolPlane,
    sigma: float,
) -> tuple[Streak, ...]:
    """Find at most five straight trails of positive flux.

    Parameters
    ----------
    image, variance
        float32 (ny, nx): the decorrelated difference.
    matched_template
        float32 (ny, nx): pixels beyond five ``sigma`` are left out.
    good
        bool (ny, nx).
    sigma
        Noise of the difference's sky, unit of the image.
    """
    ny, nx = image.shape
    block = max(_LEAST_BLOCK, -(-max(ny, nx) // _MOST_BLOCKS))
    side = 1 << int(np.ceil(np.log2(max(-(-max(ny, nx) // block), 2))))
    z, used = np.zeros((side, side), np.float32), np.zeros((side, side), np.float32)
    _blocks(
        image, variance, matched_template, good, block, np.float32(_SOURCE_SIGMAS * sigma),
        z, used,
    )  # fmt: skip
    flat = _flattened(z, used)
    counts = [line_sums(oriented(used, o)) for o in ORIENTATIONS]
    found: list[Streak] = []
    for _ in range(2 * _MOST_STREAKS):
        best = max((_best_line(flat, counts[o], o) for o in ORIENTATIONS), key=lambda line: line[0])
        if best[0] < _LEAST_SN or len(found) == _MOST_STREAKS:
            break
        rows, columns = line_pixels(side, *best[1:])
        span = _lit_span(flat[rows, columns], used[rows, columns], block)
        if span is not None:
            first, last = span
            ends = [((v[k] + 0.5) * block - 0.5) for k in (first, last) for v in (columns, rows)]
            streak = _measured(image, variance, good, ends, best[0])
            if streak is not None:
                found.append(streak)
        _blank(flat, rows, columns)
    return tuple(found)


def _best_line(
    flat: FloatPlane, count: FloatPlane, orientation: int
) -> tuple[float, int, int, int]:
    """S/N, orientation, start and rise of the brightest line."""
    sums = line_sums(oriented(flat, orientation))
    with np.errstate(invalid="ignore", divide="ignore"):
        sums /= np.sqrt(count)
    sums[count < _LEAST_COUNT] = -np.inf
    rise, row = np.unravel_index(int(np.argmax(sums)), sums.shape)
    start = int(row) - flat.shape[0]
    return float(sums[rise, row]), orientation, start, int(rise)


def _lit_span(z: FloatPlane, used: FloatPlane, block: int) -> tuple[int, int] | None:
    """First and last block of a line that is lit over a good part of its length."""
    each = max(int(PIECE / block), 1)
    edges = np.arange(0, z.size, each)
    count = np.add.reduceat(used, edges) if z.size else np.zeros(0)
    total = np.add.reduceat(z, edges) if z.size else np.zeros(0)
    known = count >= 0.5 * each
    lit = known & (total > _PIECE_SN * np.sqrt(np.maximum(count, 1.0)))
    n_lit = int(lit.sum())
    if n_lit < _LEAST_PIECES:
        return None
    first, last = (int(v) for v in np.flatnonzero(lit)[[0, -1]])
    in_span = int(known[first : last + 1].sum())
    # A trail is lit all along; two spikes of stars in one line leave the dark between them.
    bright = np.median(total[lit] / np.sqrt(count[lit])) > _PIECE_BRIGHT
    least = _LIT_SPAN_BRIGHT if bright else _LIT_SPAN
    chance = float(bdtrc(n_lit - 1, int(known.sum()), _PIECE_CHANCE))
    if chance > _CHANCE or n_lit < least * in_span or n_lit < _LIT_CHORD * known.sum():
        return None
    return int(edges[first]), int(min(edges[last] + each, z.size) - 1)


def _blank(flat: FloatPlane, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> None:
    half = _BLANKED // 2
    for a in range(-half, half + 1):
        for b in range(-half, half + 1):
            flat[
                np.clip(rows + a, 0, flat.shape[0] - 1), np.clip(columns + b, 0, flat.shape[1] - 1)
            ] = 0.0


def _measured(
    image: FloatPlane, variance: FloatPlane, good: BoolPlane, ends: list[float], sn: float
) -> Streak | None:
    """Put the line on the pixels: centre pieces of it, fit them, and see how wide it is."""
    x0, y0, x1, y1 = ends
    for _ in range(2):
        pieces = _profiles(image, variance, good, (x0, y0, x1, y1))
        if pieces is None:
            return None
        profiles, along = pieces
        smooth = np.apply_along_axis(np.convolve, 1, profiles, np.ones(7) / 7.0, "same")
        centres = np.argmax(smooth, axis=1) - _ACROSS
        height = np.max(smooth, axis=1)
        middle = np.median(centres)
        fit = (np.abs(centres - middle) <= 12) & (height > 0)
        if fit.sum() < _LEAST_PIECES:
            return None
        slope, offset = np.polyfit(along[fit], centres[fit].astype(float), 1, w=height[fit])
        length = float(np.hypot(x1 - x0, y1 - y0))
        ux, uy = (x1 - x0) / length, (y1 - y0) / length
        before, after = offset, offset + slope * length
        x0, y0, x1, y1 = x0 - uy * before, y0 + ux * before, x1 - uy * after, y1 + ux * after
    pieces = _profiles(image, variance, good, (x0, y0, x1, y1))
    if pieces is None:
        return None
    mean = np.mean(pieces[0], axis=0)
    mean -= np.median(np.concatenate([mean[:12], mean[-12:]]))
    limit = max(_EDGE_OF_PROFILE, 0.05 * float(mean.max()) if mean.max() < 1.0 else 0.0)
    half = 0
    while half < _ACROSS - 12 and max(mean[_ACROSS + half], mean[_ACROSS - half]) > limit:
        half += 1
    return Streak(x0, y0, x1, y1, max(float(half), _LEAST_HALF_WIDTH), sn)


def _profiles(
    image: FloatPlane, variance: FloatPlane, good: BoolPlane, line: tuple[float, ...]
) -> tuple[Array, Array] | None:
    """Mean of difference / sigma by distance from the line, for each piece of it."""
    x0, y0, x1, y1 = line
    length = float(np.hypot(x1 - x0, y1 - y0))
    if length < _LEAST_PIECES * PIECE / 2.0:
        return None
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    across = np.arange(-_ACROSS, _ACROSS + 1)
    profiles, middles = [], []
    for start in np.arange(0.0, length, PIECE):
        along = np.arange(start, min(start + PIECE, length))
        x = np.rint(x0 + ux * along - uy * across[:, None]).astype(np.int64)
        y = np.rint(y0 + uy * along + ux * across[:, None]).astype(np.int64)
        inside = (x >= 0) & (x < image.shape[1]) & (y >= 0) & (y < image.shape[0])
        x, y = np.clip(x, 0, image.shape[1] - 1), np.clip(y, 0, image.shape[0] - 1)
        inside &= good[y, x]
        z = np.where(inside, image[y, x] / np.sqrt(np.where(inside, variance[y, x], 1.0)), 0.0)
        # Clipped: stars that cross the trail are no part of it.
        n = np.count_nonzero(inside, axis=1)
        profiles.append(np.sum(np.clip(z, -20.0, 20.0), axis=1) / np.maximum(n, 1))
        middles.append(float(along.mean()))
    return np.array(profiles), np.array(middles)
