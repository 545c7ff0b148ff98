"""Covariance that the decorrelation left in the sky, measured once on the difference itself.

One figure holds what the models do not know: the covariance that the making of the template
left in it, that of a resampled science image, and a variance plane wrong by a factor. It is
measured on the difference, not on the inputs: common faint galaxies are covariance of the
template but not of the difference.
"""

from dataclasses import dataclass, field

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.images import ConvolvedImage, FloatPlane, PsfModel
from residua.subtraction.noise.variance_variation import VarianceVariation, measure_variation

__all__ = ["ResidualCovariance", "measure_covariance"]

type Array = npt.NDArray[np.float64]

BLOCK = 32
REACH = 4
_LARGEST_LAG = 4.6
_MOST_BLOCKS = 700
_LEAST_BLOCKS = 12
_LEAST_SKY = 0.4
_FAINT = 1.5
_SMOOTHING = 3
_LOUDEST_PIXEL = 4.7
_LOUDEST_BOX = 2.5
"""MADs above the lower half's median of the blocks' largest 7 x 7 means."""
_MEDIAN_ERROR = 1.25 * 1.4826
_ERRORS, _LEAST_EXCESS = 2.0, 0.005
_CLEAR_ERRORS, _LEAST_OFF, _LEAST_LAG = 4.0, 0.03, 0.01


@dataclass(frozen=True)
class ResidualCovariance:
    """Autocovariance of difference over its claimed noise, on calm sky.

    Parameters
    ----------
    covariance
        float64 (9, 9), lag 0 in the middle; 1 there and 0 elsewhere is honest white noise.
    blocks
        Calm blocks of 32 x 32 px it is the median of; 0 where it could not be measured.
    excess, excess_error
        What it does to the standard deviation of the matched filter's S/N, beyond 1.
    variance_error, lag_error
        Of the covariance at lag 0 and, the mean of both axes, at lag 1.
    variation
        How the factor of the variance varies over the image.
    """

    covariance: Array
    blocks: int
    excess: float
    excess_error: float
    variance_error: float
    lag_error: float
    variation: VarianceVariation = field(default_factory=VarianceVariation)

    @property
    def scale(self) -> float:
        """Noise of a pixel over the claimed one; 1 where it could not be measured."""
        return float(np.sqrt(self.covariance[REACH, REACH])) if self.blocks else 1.0

    @property
    def lag1(self) -> float:
        """Autocorrelation at one pixel, mean of both axes; NaN where it was not measured."""
        if not self.blocks:
            return float("nan")
        c = self.covariance
        return float((c[REACH, REACH + 1] + c[REACH + 1, REACH]) / (2.0 * c[REACH, REACH]))

    @property
    def significant(self) -> bool:
        """Whether it is worth correcting: else every bit is better left as it is."""
        if not self.blocks:
            return False
        # A variance that is too large may hide a correlation from the matched filter.
        off = abs(self.covariance[REACH, REACH] - 1.0)
        lag = abs(self.lag1)
        return (
            abs(self.excess) > max(_LEAST_EXCESS, _ERRORS * self.excess_error)
            or off > max(_LEAST_OFF, _CLEAR_ERRORS * self.variance_error)
            or lag > max(_LEAST_LAG, _CLEAR_ERRORS * self.lag_error)
            or self.variation.significant
        )


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _blocks(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    model: npt.NDArray[np.float32],
    good: npt.NDArray[np.bool_],
    smooth_model: bool,
    middle: float,
    faint: float,
    corners: npt.NDArray[np.int64],
    lags: npt.NDArray[np.int64],
    sums: npt.NDArray[np.float64],
    pairs: npt.NDArray[np.float64],
    loudest: npt.NDArray[np.float64],
) -> None:
    ny, nx = image.shape
    z = np.empty((BLOCK, BLOCK))
    m = np.empty((BLOCK, BLOCK))
    products, shared = np.empty(BLOCK), np.empty(BLOCK)
    for k in range(corners.shape[0]):
        y0, x0 = corners[k, 0], corners[k, 1]
        peak, claimed, number = 0.0, 0.0, 0
        for y in range(BLOCK):
            for x in range(BLOCK):
                j, i = y0 + y, x0 + x
                z[y, x] = m[y, x] = 0.0
                if not good[j, i]:
                    continue
                value = float(model[j, i])
                if smooth_model:
                    total, count = 0.0, 0
                    for b in range(max(j - _SMOOTHING, 0), min(j + _SMOOTHING + 1, ny)):
                        for a in range(max(i - _SMOOTHING, 0), min(i + _SMOOTHING + 1, nx)):
                            if good[b, a]:
                                total += model[b, a]
                                count += 1
                    value = total / count
                if abs(value - middle) < faint:
                    z[y, x] = image[j, i]
                    m[y, x] = 1.0
                    claimed += variance[j, i]
                    number += 1
        # One variance a block: where a pixel's own Poisson noise is in its variance, its square
        # over that variance is too large on average, by three over the electrons.
        if claimed > 0.0:
            z *= np.sqrt(number / claimed)
        for y in range(BLOCK):
            for x in range(BLOCK):
                peak = max(peak, abs(z[y, x]))
        box = 0.0
        side = 2 * _SMOOTHING + 1
        for y in range(BLOCK - side + 1):
            products[:] = 0.0
            for b in range(side):
                for x in range(BLOCK):
                    products[x] += z[y + b, x]
            for x in range(BLOCK - side + 1):
                total = 0.0
                for a in range(side):
                    total += products[x + a]
                box = max(box, abs(total))
        loudest[k, 0], loudest[k, 1] = peak, box / (side * side)
        for n in range(lags.shape[0]):
            dy, dx = lags[n, 0], lags[n, 1]
            left, right = max(0, -dx), BLOCK - max(0, dx)
            # Columns first: that loop runs in vector instructions.
            products[:] = 0.0
            shared[:] = 0.0
            # Slices: an index that may be negative would keep the loop scalar.
            product, share = products[left:right], shared[left:right]
            for y in range(BLOCK - dy):
                here, there = z[y, left:right], z[y + dy, left + dx : right + dx]
                known, known_there = m[y, left:right], m[y + dy, left + dx : right + dx]
                for x in range(product.size):
                    product[x] += here[x] * there[x]
                    share[x] += known[x] * known_there[x]
            sums[k, n], pairs[k, n] = products.sum(), shared.sum()


def _half_plane() -> npt.NDArray[np.int64]:
    """Lags (dy, dx) within reach, one of each pair of opposite ones; lag 0 first."""
    return np.array(
        [
            (dy, dx)
            for dy in range(REACH + 1)
            for dx in range(-REACH, REACH + 1)
            if np.hypot(dy, dx) <= _LARGEST_LAG and (dy > 0 or dx >= 0)
        ],
        np.int64,
    )


def measure_covariance(
    image: FloatPlane,
    variance: FloatPlane,
    model: FloatPlane,
    good: npt.NDArray[np.bool_],
    psf: PsfModel,
    *,
    convolved: ConvolvedImage,
    sigma: float,
) -> ResidualCovariance:
    """Measure the covariance of the noise where nothing shines.

    In at most 700 blocks of 32 x 32 px; those in which a pixel or a 7 x 7 mean stands out
    count for nothing, since faint transients would be taken for covariance.

    Parameters
    ----------
    image, variance
        float32 (ny, nx): the decorrelated difference.
    model
        float32 (ny, nx): the image on the template's side, which shows the constant sources.
    good
        bool (ny, nx).
    psf
        Of the difference.
    convolved
        Which image was convolved. The template as it is, that is when the science image was,
        is smoothed for the choice of the sky: chosen by its own noise, sky would be too calm.
    sigma
        Noise of the difference before the decorrelation, unit of the image.
    """
    ny, nx = image.shape
    lags = _half_plane()
    sample = model[::7, ::7][good[::7, ::7]]
    rows, columns = ny // BLOCK, nx // BLOCK
    nothing = ResidualCovariance(
        _placed(lags, np.eye(1, len(lags))[0]), 0, 0.0, np.inf, np.inf, np.inf
    )
    if not sample.size or rows * columns < _LEAST_BLOCKS:
        return nothing
    number = np.arange(rows * columns)
    if number.size > _MOST_BLOCKS:
        number = np.linspace(0, number.size - 1, _MOST_BLOCKS).astype(np.int64)
    corners = np.column_stack([number // columns * BLOCK, number % columns * BLOCK])
    sums, pairs = np.empty((len(corners), len(lags))), np.empty((len(corners), len(lags)))
    loudest = np.empty((len(corners), 2))
    _blocks(
        image, variance, model, good, convolved == "science", float(np.median(sample)),
        _FAINT * sigma, corners, lags, sums, pairs, loudest,
    )  # fmt: skip
    usable = pairs[:, 0] >= _LEAST_SKY * BLOCK**2
    if usable.sum() < _LEAST_BLOCKS:
        return nothing
    # Levels in units of the noise found, or a variance that is too small would be all sources.
    scale = np.sqrt(np.median(sums[usable, 0] / pairs[usable, 0]))
    box = loudest[:, 1]
    lower = np.sort(box[usable])[: max(int(usable.sum()) // 2, 1)]
    middle = float(np.median(box[usable]))
    spread = 1.4826 * float(np.median(middle - lower))
    calm = usable & (loudest[:, 0] <= _LOUDEST_PIXEL * scale)
    calm &= box <= middle + _LOUDEST_BOX * spread
    n = int(calm.sum())
    if n < _LEAST_BLOCKS:
        return nothing
    values = sums[calm] / np.maximum(pairs[calm], 1.0)
    found = np.median(values, axis=0)
    errors = _MEDIAN_ERROR * np.median(np.abs(values - found), axis=0) / np.sqrt(n)
    overlap = _autocorrelation(psf)[lags[:, 0] + REACH, lags[:, 1] + REACH]
    weight = overlap * np.where(np.arange(len(lags)) == 0, 0.5, 1.0)
    white = np.eye(1, len(lags))[0]
    excess = float(np.sum(weight * (found - white)))
    neighbours = errors[np.abs(lags).sum(axis=1) == 1]
    return ResidualCovariance(
        _placed(lags, found),
        n,
        excess,
        float(np.sqrt(np.sum((weight * errors) ** 2))),
        float(errors[0]),
        float(np.sqrt(np.mean(neighbours**2) / 2.0)),
        measure_variation(values[:, 0], corners[calm] + 0.5 * (BLOCK - 1), (ny, nx)),
    )


def _placed(lags: npt.NDArray[np.int64], values: Array) -> Array:
    """Both halves of the plane of lags, in the form a record can hold."""
    plane = np.zeros((2 * REACH + 1, 2 * REACH + 1))
    rounded = np.round(values, 6)
    plane[REACH + lags[:, 0], REACH + lags[:, 1]] = rounded
    plane[REACH - lags[:, 0], REACH - lags[:, 1]] = rounded
    return plane


def _autocorrelation(psf: PsfModel) -> Array:
    """Of the PSF at the centre, 1 at lag 0; float64 (9, 9)."""
    ny, nx = psf.polynomial.shape
    stamp = psf.stamp((nx - 1) / 2, (ny - 1) / 2)
    n = 2 * stamp.shape[0]
    power = np.abs(np.fft.rfft2(stamp, (n, n))) ** 2
    plane = np.roll(np.fft.irfft2(power, (n, n)), (REACH, REACH), axis=(0, 1))
    return np.asarray(plane[: 2 * REACH + 1, : 2 * REACH + 1] / np.sum(stamp**2))
