"""PSF stars by their widths: which of the objects agree with each other, and how well."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from residua.subtraction.images import SpatialPolynomial

__all__ = ["BRIGHT_SN", "KNOWN_STARS", "PsfStars", "on_locus", "width_scatter"]

type Array = npt.NDArray[np.float64]

KNOWN_STARS = 4
"""Stars whose width is believed to be that of all."""

BRIGHT_SN = 20.0
"""Peak over noise of stars whose widths are known to a few per cent."""
_MODE_WINDOW = 0.15
_FLOOR_WINDOW, _FLOOR_STARS, _FLOOR_SHARE = 0.05, 3, 0.02
_FLOOR_TOLERANCE, _BELOW_MODE = 0.03, 0.08
_LEAST_LOG_WIDTH, _LEAST_LOG_WIDTH_SEEN = -0.15, -0.65
"""Of ln width: where stars are few among galaxies, and when the commonest width is not theirs;
below the last ones hits pass for stars, unless another image shows the same object."""


@dataclass(frozen=True)
class PsfStars:
    """Stars for the PSF, brightest first.

    Parameters
    ----------
    x, y
        float64 (n,), centroids in pixels.
    sigma
        float64 (n,), Gaussian width of the best-fitting round weight, pixels.
    peak_sn
        float64 (n,), peak over the noise of the sky.
    """

    x: Array
    y: Array
    sigma: Array
    peak_sn: Array

    def __len__(self) -> int:
        return len(self.x)

    def select(self, keep: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> "PsfStars":
        """Only some of the stars."""
        return PsfStars(self.x[keep], self.y[keep], self.sigma[keep], self.peak_sn[keep])


def _half_sample_mode(values: Array) -> float:
    """Mode by repeated choice of the densest half (Robertson & Cryer 1974)."""
    values = np.sort(values)
    while len(values) > 3:
        half = (len(values) + 1) // 2
        spans = values[half - 1 :] - values[: len(values) - half + 1]
        start = int(np.argmin(spans))
        values = values[start : start + half]
    return float(np.median(values))


def _floor(log_width: Array, seen: npt.NDArray[np.bool_] | None) -> float:
    """Least width that several objects share: stars are the smallest objects there are.

    The first window of 5 % that holds three objects, or one in fifty, about its own median.
    Where it is known which objects another image shows too, only those count.
    """
    least_width = _LEAST_LOG_WIDTH
    if seen is not None:
        log_width, least_width = log_width[seen], _LEAST_LOG_WIDTH_SEEN
    # Of stars that are sampled too coarsely the widths scatter by more than the window.
    values = np.sort(log_width[log_width > least_width])
    least = max(_FLOOR_STARS, int(np.ceil(_FLOOR_SHARE * values.size)))
    if values.size < least:
        return float("inf")
    spans = values[least - 1 :] - values[: values.size - least + 1]
    narrow = np.flatnonzero(spans <= _FLOOR_WINDOW)
    if not narrow.size:
        return float("inf")
    low = values[narrow[0]]
    return float(np.median(values[(values >= low) & (values <= low + _FLOOR_WINDOW)]))


def on_locus(
    stars: PsfStars,
    shape: tuple[int, int],
    known: float | None,
    seen: npt.NDArray[np.bool_] | None,
) -> tuple[npt.NDArray[np.bool_], bool]:
    """Stars whose width agrees with that of the other stars in their neighbourhood.

    Also tells whether most of the objects are wider than the stars: then fainter ones must not
    be asked, and only those close to the least width count.
    """
    n = len(stars)
    if n < 3:
        return np.ones(n, np.bool_), False
    log_width = np.log(stars.sigma)
    floor = _floor(log_width, seen)
    narrow = np.abs(log_width - floor) < _FLOOR_TOLERANCE
    if narrow.sum() >= _FLOOR_STARS and np.mean(log_width > floor + _MODE_WINDOW) > 0.5:
        return narrow, True
    # The brightest objects are mostly stars; among all of them compact galaxies may prevail.
    brightest = log_width[: max(n // 3, min(n, 8))]
    if known is not None:
        middle = known
    elif n >= 8:
        middle = _half_sample_mode(brightest)
    else:
        middle = float(np.median(np.sort(brightest)[:4]))
    if middle - floor > _BELOW_MODE:
        middle = floor
    keep = np.abs(log_width - middle) < _MODE_WINDOW
    terms = SpatialPolynomial(shape, 2 if keep.sum() >= 40 else 0).terms(stars.x, stars.y)
    for _ in range(4):
        if keep.sum() < 3:
            break
        solution, *_ = np.linalg.lstsq(terms[keep], log_width[keep])
        residual = log_width - terms @ solution
        spread = 1.4826 * float(np.median(np.abs(residual[keep])))
        new = np.abs(residual) < min(max(3.0 * spread, 0.02), _MODE_WINDOW)
        if np.array_equal(new, keep) or new.sum() < 3:
            break
        keep = new
    return keep, False


def width_scatter(objects: PsfStars, taken: npt.NDArray[np.bool_]) -> float:
    """Relative scatter of the widths about those of PSF stars; NaN of under four bright objects.

    All objects count that the window of the search lets pass, also those that were clipped later:
    a few galaxies agree by chance, what lies around them does not. Stars agree to a few hundredths
    wherever they are on a detector.

    Parameters
    ----------
    objects
        Candidates.
    taken
        bool (n,): those that passed for stars.
    """
    if not taken.any():
        return float("nan")
    log_width = np.log(objects.sigma)
    off = np.abs(log_width - np.median(log_width[taken]))
    off = off[(objects.peak_sn >= BRIGHT_SN) & (off < _MODE_WINDOW)]
    return 1.4826 * float(np.median(off)) if off.size >= KNOWN_STARS else float("nan")
