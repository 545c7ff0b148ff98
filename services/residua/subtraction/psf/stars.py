"""Selection of PSF stars: isolated, unsaturated, and as sharp as the other stars there."""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.images import FloatPlane, MaskPlane
from residua.subtraction.masks import UNUSABLE, MaskBit
from residua.subtraction.pixels.peaks import (
    Peaks,
    brightest_of_cells,
    crowding,
    find_peaks,
)
from residua.subtraction.psf.adaptive_moments import adaptive_moments
from residua.subtraction.psf.lone_stars import lone_stars
from residua.subtraction.psf.star_locus import KNOWN_STARS, PsfStars, on_locus, width_scatter

__all__ = [
    "UNUSABLE_FOR_PSF",
    "FoundStars",
    "OtherImage",
    "Separation",
    "flag_neighbours",
    "stars_at_scale",
]

type Array = npt.NDArray[np.float64]
type OtherImage = tuple[FloatPlane, float]
"""Another image of the same sky, and the pixel value above which it shows something."""

UNUSABLE_FOR_PSF = int(UNUSABLE | MaskBit.SUSPECT | MaskBit.CROSSTALK | MaskBit.SPIKE)

_CELLS, _CELL_PER_ISOLATION = 12, 40.0 / 12.0
_NEIGHBOUR_SN = 6.0
_ISOLATION_RADIUS = 12.0
_CORE_RADIUS = 2.5
_PEAK_SIGMAS = 8.0
# (least peak over noise, largest sum of neighbours' peaks over the own one, enough stars)
_STEPS = ((30.0, 0.03, 60), (30.0, 0.1, 30), (15.0, 0.2, 12), (8.0, 0.4, 0))


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _flag_neighbours(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    peak_x: npt.NDArray[np.int64],
    peak_y: npt.NDArray[np.int64],
    peak_sn: npt.NDArray[np.float64],
    own_radius: float,
    fwhm: float,
    flags: npt.NDArray[np.bool_],
) -> None:
    half = flags.shape[1] // 2
    for k in range(len(x)):
        ix, iy = round(x[k]), round(y[k])
        for j in range(len(peak_x)):
            # The disc reaches to where a Moffat profile of exponent 2.5 has fallen to a third
            # of the noise.
            reach = 0.65 * fwhm * max((3.0 * peak_sn[j]) ** 0.4 - 1.0, 0.0) ** 0.5 + 1.0
            dx, dy = peak_x[j] - ix, peak_y[j] - iy
            if abs(dx) > half + reach or abs(dy) > half + reach:
                continue
            if dx * dx + dy * dy <= own_radius * own_radius:
                continue
            for b in range(max(int(dy - reach), -half), min(int(dy + reach), half) + 1):
                for a in range(max(int(dx - reach), -half), min(int(dx + reach), half) + 1):
                    if (a - dx) ** 2 + (b - dy) ** 2 <= reach * reach and (
                        # Half way to the neighbour a pixel still belongs to the star.
                        (a - dx) ** 2 + (b - dy) ** 2 < a * a + b * b
                    ):
                        flags[k, half + b, half + a] = True


def flag_neighbours(
    stars: PsfStars, peaks: Peaks, sigma: float, half_width: int, fwhm: float
) -> npt.NDArray[np.bool_]:
    """Bool (n, size, size): pixels around each star that belong to its neighbours.

    Parameters
    ----------
    stars
        Stars whose surroundings are flagged.
    peaks
        All peaks of the image, the stars' own included.
    sigma
        Noise of the sky, unit of the image.
    half_width
        Half width of the result, pixels.
    fwhm
        Of the stars, pixels.
    """
    size = 2 * half_width + 1
    flags = np.zeros((len(stars), size, size), np.bool_)
    _flag_neighbours(
        stars.x,
        stars.y,
        peaks.x,
        peaks.y,
        peaks.values.astype(np.float64) / sigma,
        0.75 * fwhm,
        fwhm,
        flags,
    )
    return flags


def _seen(stars: PsfStars, other: OtherImage | None) -> npt.NDArray[np.bool_] | None:
    """Which of the objects another image shows."""
    if other is None:
        return None
    plane, least = other
    ny, nx = plane.shape
    offset = np.arange(-1, 2)
    rows, columns = (
        np.clip(np.rint(v).astype(np.int64)[:, None] + offset, 0, n - 1)
        for v, n in ((stars.y, ny), (stars.x, nx))
    )
    return np.asarray(plane[rows[:, :, None], columns[:, None, :]].max(axis=(1, 2)) > least)


def _pixels_of(stars: PsfStars) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    return np.rint(stars.x).astype(np.int64), np.rint(stars.y).astype(np.int64)


@dataclass(frozen=True)
class Separation:
    """How far apart objects must be to count as two.

    Parameters
    ----------
    isolation
        Distance within which a peak is a neighbour, pixels of the image.
    core
        Distance within which only peaks of at least half the brightness count, pixels.
    """

    isolation: float
    core: float

    @classmethod
    def of_binning(cls, binning: int) -> "Separation":
        """Return what fits stars of two to six binned pixels."""
        return cls(_ISOLATION_RADIUS * binning, _CORE_RADIUS * binning)


@dataclass(frozen=True)
class FoundStars:
    """Stars, brightest first, and what else was seen.

    Parameters
    ----------
    stars
        Possibly none.
    peaks
        All peaks of at least six times the noise.
    lone
        Whether the stars are few among galaxies and yet certain; see
        `residua.subtraction.psf.lone_stars`.
    width_scatter
        See `residua.subtraction.psf.star_locus.width_scatter`.
    galaxies_prevail
        Whether most of the objects are wider than the stars.
    """

    stars: PsfStars
    peaks: Peaks
    lone: bool = False
    width_scatter: float = float("nan")
    galaxies_prevail: bool = False


def stars_at_scale(
    image: FloatPlane,
    mask: MaskPlane,
    binned: tuple[FloatPlane, MaskPlane],
    sigma: float,
    binning: int,
    separation: Separation,
    other: OtherImage | None = None,
) -> FoundStars:
    """Find stars whose peaks show on an image binned by an integer factor.

    Parameters
    ----------
    image, mask
        float32 and int32 (ny, nx), background-subtracted: where widths are measured.
    binned
        The same as means of squares of pixels, with the union of their flags: where peaks are
        sought.
    sigma
        Noise of the sky in a pixel of ``image``, unit of the image.
    binning
        Side of the squares, pixels.
    separation
        Least distances.
    other
        Another image of the same sky on the same pixels.

    Returns
    -------
    FoundStars
        In pixels of ``image``.
    """
    ny, nx = image.shape
    shape = (ny, nx)
    noise = sigma / binning
    least_side = int(_CELL_PER_ISOLATION * separation.isolation)
    cells = (min(_CELLS, max(1, ny // least_side)), min(_CELLS, max(1, nx // least_side)))
    peaks = find_peaks(*binned, UNUSABLE_FOR_PSF, _NEIGHBOUR_SN * noise, 2)
    centre = (binning - 1) // 2
    peaks = Peaks(peaks.x * binning + centre, peaks.y * binning + centre, peaks.values)
    empty = np.zeros(0)
    stars, scatter = PsfStars(empty, empty, empty, empty), float("nan")
    for least_sn, crowded, enough in _STEPS:
        n_bright = int(np.searchsorted(-peaks.values, np.float32(-least_sn * noise)))
        if n_bright == 0:
            continue
        alone = crowding(peaks, shape, separation.isolation, separation.core, n_bright) <= crowded
        chosen = np.flatnonzero(alone)
        candidates = brightest_of_cells(
            Peaks(peaks.x[chosen], peaks.y[chosen], peaks.values[chosen]), shape, cells, 5
        )
        moments = adaptive_moments(
            image, mask, UNUSABLE_FOR_PSF, candidates.x, candidates.y,
            binning=binning, least_peak=_PEAK_SIGMAS * sigma,
        )  # fmt: skip
        found = PsfStars(
            moments[:, 0],
            moments[:, 1],
            moments[:, 2],
            candidates.values.astype(np.float64) / sigma,
        )
        found = found.select(np.isfinite(found.sigma))
        # Among ever fainter objects galaxies prevail; the first stars found show the width.
        known = float(np.median(np.log(stars.sigma))) if len(stars) >= KNOWN_STARS else None
        seen = _seen(found, other)
        agree, galaxies_prevail = on_locus(found, shape, known, seen)
        if other is not None and seen is not None:
            shown = adaptive_moments(
                other[0], mask, UNUSABLE_FOR_PSF, *_pixels_of(found),
                binning=binning, least_peak=np.inf,
            )  # fmt: skip
            lone = lone_stars(found, agree & seen, seen, shown[:, 2])
            if lone.any():
                scatter = width_scatter(found, lone)
                return FoundStars(found.select(lone), peaks, True, scatter, True)
        spread = width_scatter(found, agree)
        found = found.select(agree)
        if galaxies_prevail:
            # However many galaxies were taken for stars before.
            return FoundStars(found, peaks, False, spread, True)
        if len(found) >= len(stars):
            stars, scatter = found, spread
        if len(stars) >= max(enough, 1):
            break
    return FoundStars(stars, peaks, False, scatter)
