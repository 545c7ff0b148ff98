"""The weighted mean of matched exposures, without what stands in one of them alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from residua.coadds.exposures import Matched
from residua.errors import UnusableImageError
from residua.subtraction.masks import MaskBit

__all__ = ["Coadd", "combine"]

_STRIP = 128
_REACH = 4
_CLIP = 5.0
_EDGE = 2.0
# Stars vary, and PSFs match to a few percent.
_RELATIVE = 0.1


@dataclass(frozen=True)
class Coadd:
    """A mean of exposures.

    Parameters
    ----------
    image, variance
        float32 (ny, nx); NaN where there is no exposure.
    mask
        int32 (ny, nx), bits of `residua.subtraction.masks.MaskBit`: ``NO_DATA``, ``SATURATED``
        (in any exposure that covers it), ``CLIPPED`` (an exposure was left out here).
    count
        uint8 (ny, nx), exposures in each pixel.
    weights
        Of the exposures, of sum 1.
    clipped
        Fraction of the pixels of each exposure that were left out as outliers.
    noise_factor
        Measured over predicted variance of the sky; contained in the variance.
    correlation
        Autocorrelation of the sky's noise at 1 pixel along x and y.
    """

    image: npt.NDArray[np.float32]
    variance: npt.NDArray[np.float32]
    mask: npt.NDArray[np.int32]
    count: npt.NDArray[np.uint8]
    weights: tuple[float, ...]
    clipped: tuple[float, ...]
    noise_factor: float
    correlation: tuple[float, float]


def combine(exposures: Sequence[Matched]) -> Coadd:
    """Average exposures.

    An exposure has one weight, the inverse of its sky's variance, so that the PSF is the same
    everywhere. A pixel that differs from the median of all by 5 sigma (and a tenth of the flux) is
    left out, with those around it that differ by 2; of two exposures the brighter is.

    Parameters
    ----------
    exposures
        At least two, on one grid.

    Raises
    ------
    residua.errors.UnusableImageError
        Fewer than two, or no pixel is covered.
    """
    if len(exposures) < 2:
        raise UnusableImageError(
            f"a template needs two exposures or more, {len(exposures)} can be used",
            usable=len(exposures),
        )
    ny, nx = exposures[0].image.shape
    weights = np.array([e.weight for e in exposures])
    weights /= weights.sum()
    image = np.full((ny, nx), np.nan, np.float32)
    variance = np.full((ny, nx), np.nan, np.float32)
    mask = np.zeros((ny, nx), np.int32)
    count = np.zeros((ny, nx), np.uint8)
    clipped = np.zeros(len(exposures))
    for y0 in range(0, ny, _STRIP):
        # With rows around, so that what is left out does not end at a strip.
        low, high = max(0, y0 - _REACH), min(ny, y0 + _STRIP + _REACH)
        rows = np.s_[low:high]
        inner = np.s_[y0 - low : min(ny, y0 + _STRIP) - low]
        out = np.s_[y0 : min(ny, y0 + _STRIP)]
        values = np.stack([e.image[rows] for e in exposures])
        noise = np.stack([e.variance[rows] for e in exposures])
        good = np.stack([e.good[rows] for e in exposures])
        left_out = _outliers(values, noise, good)[:, inner]
        values, noise, good = values[:, inner], noise[:, inner], good[:, inner]
        clipped += left_out.sum(axis=(1, 2))
        kept = good & ~left_out
        share = np.where(kept, weights[:, None, None], 0.0)
        total = share.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            image[out] = (share * np.where(kept, values, 0.0)).sum(axis=0) / total
            variance[out] = (share**2 * np.where(kept, noise, 0.0)).sum(axis=0) / total**2
        count[out] = kept.sum(axis=0)
        mask[out][left_out.any(axis=0)] |= np.int32(MaskBit.CLIPPED)
    saturated = np.zeros((ny, nx), np.bool_)
    for exposure in exposures:
        saturated |= exposure.saturated
    mask[saturated] |= np.int32(MaskBit.SATURATED)
    mask[count == 0] |= np.int32(MaskBit.NO_DATA)
    if not count.any():
        raise UnusableImageError("no pixel is covered by a usable exposure", usable=0)
    factor, correlation = _sky_noise(image, variance, count)
    variance *= np.float32(factor)
    return Coadd(
        image,
        variance,
        mask,
        count,
        tuple(float(w) for w in weights),
        tuple(float(c) / (ny * nx) for c in clipped),
        factor,
        correlation,
    )


def _outliers(
    values: npt.NDArray[np.float32],
    noise: npt.NDArray[np.float32],
    good: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    n_good = good.sum(axis=0)
    ordered = np.sort(np.where(good, values, np.float32(np.inf)), axis=0)
    # Of two, the fainter: cosmic rays and moving sources are bright.
    low, high = np.maximum(n_good - 1, 0) // 2, np.maximum(n_good, 1) // 2
    high = np.where(n_good == 2, low, high)
    both = [np.take_along_axis(ordered, k[None], axis=0)[0] for k in (low, high)]
    middle = np.where(n_good > 0, 0.5 * (both[0] + both[1]), 0.0).astype(np.float32)
    around = np.where(good, noise, np.float32(np.nan))
    with np.errstate(invalid="ignore"):
        own = np.sqrt(around + np.float32(_RELATIVE**2) * np.maximum(middle, 0.0) ** 2)
        # The middle of few exposures is not much less noisy than each.
        own *= np.sqrt(1.0 + 1.0 / np.maximum(n_good, 1)).astype(np.float32)
        deviation = np.where(good, values - middle, np.float32(0.0)) / own
    deviation = np.nan_to_num(deviation)
    far, near = np.abs(deviation) > _CLIP, np.abs(deviation) > _EDGE
    # Where only one is left, nothing tells what stands out.
    far &= n_good >= 2
    if not far.any():
        return far
    structure = np.ones((1, 3, 3), np.bool_)
    grown = ndimage.binary_dilation(far, structure, iterations=_REACH - 1, mask=near | far)
    out = grown | ndimage.binary_dilation(far, structure)
    out &= good
    # Never all of them.
    out[:, (good & ~out).sum(axis=0) == 0] = False
    return out


def _sky_noise(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    count: npt.NDArray[np.uint8],
) -> tuple[float, tuple[float, float]]:
    """Return measured over predicted variance, and the correlation of neighbours."""
    usable = (count > 0) & (variance > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        pull = np.where(usable, image / np.sqrt(variance), np.float32(np.nan))
    sample = pull[::3, ::3][np.isfinite(pull[::3, ::3])]
    if sample.size < 1000:
        return 1.0, (0.0, 0.0)
    middle = float(np.median(sample))
    sigma = middle - float(np.percentile(sample, 15.865))
    if not sigma > 0.0:
        return 1.0, (0.0, 0.0)
    sky = np.where(np.abs(pull - middle) < 3.0 * sigma, (pull - middle) / sigma, np.nan)
    pairs = (sky[:, 1:] * sky[:, :-1], sky[1:] * sky[:-1])
    own = float(np.nanmean(sky**2))
    x, y = (float(np.nanmean(p)) / own for p in pairs)
    return sigma**2, (x, y)
