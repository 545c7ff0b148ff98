"""Earlier exposures brought to one of them: its pixels, its zero point, its PSF."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, signal

from residua.errors import ResiduaError, UnusableImageError
from residua.storage.forms.wcs import pixel_scale
from residua.subtraction.align.pixel_map import PixelMap, make_pixel_map
from residua.subtraction.config import NO_LIMITS, SubtractionConfig
from residua.subtraction.images import DifferenceImage, ScienceImage, TemplateImage
from residua.subtraction.masks import UNUSABLE, MaskBit
from residua.subtraction.pixels.prepare import clean_science
from residua.subtraction.psf.given import choose_psf
from residua.subtraction.subtract import subtract

__all__ = ["Exposure", "Matched", "as_it_is", "match", "seeing"]

_STARS_FOR_WIDTH = 40
_STRIP = 256
_MOST_RESIDUAL = 0.2
_GROWN = 2
# Between the noise that is measured and the noise that is propagated.
_LEAST_FACTOR, _MOST_FACTOR = 0.05, 20.0


@dataclass(frozen=True)
class Exposure:
    """One exposure.

    Parameters
    ----------
    name
        How it is called in messages.
    image
        Its planes.
    """

    name: str
    image: ScienceImage


@dataclass(frozen=True)
class Matched:
    """An exposure on the reference's pixels, in its unit, with its PSF.

    Parameters
    ----------
    name
        Of the exposure.
    image, variance
        float32 (ny, nx); NaN where it has nothing.
    good
        bool (ny, nx), pixels with a trustworthy flux.
    saturated
        bool (ny, nx).
    scale
        What its fluxes were multiplied with.
    noise_factor
        Measured over propagated variance of its sky, which its variance contains.
    fwhm
        Of its own PSF, arcsec.
    weight
        Inverse variance of its sky before it was smoothed: that of a star's flux.
    """

    name: str
    image: npt.NDArray[np.float32]
    variance: npt.NDArray[np.float32]
    good: npt.NDArray[np.bool_]
    saturated: npt.NDArray[np.bool_]
    scale: float
    noise_factor: float
    fwhm: float
    weight: float


def seeing(exposure: Exposure) -> float:
    """Return the FWHM of an exposure's PSF, arcsec.

    Raises
    ------
    residua.errors.ResiduaError
        There is no star to measure it from.
    """
    image = exposure.image
    mask = np.zeros(image.mask.shape, np.int32)
    try:
        pixels, variance = clean_science(image, mask)
        psf = choose_psf(image.psf, pixels, variance, mask, maximum_stars=_STARS_FOR_WIDTH).psf
    except ResiduaError as e:
        raise UnusableImageError(f"{exposure.name} has no PSF to be measured: {e.message}") from e
    shape = (image.image.shape[0], image.image.shape[1])
    return float(psf.fwhm() * pixel_scale(image.wcs, shape))


def as_it_is(reference: Exposure, fwhm: float) -> Matched:
    """Return the reference itself: nothing is done to it."""
    image = reference.image
    good = (image.mask & np.int32(UNUSABLE)) == 0
    good &= np.isfinite(image.image) & (image.variance > 0)
    return Matched(
        reference.name,
        np.where(good, image.image, np.float32(np.nan)),
        np.where(good, image.variance, np.float32(np.nan)),
        good,
        (image.mask & np.int32(MaskBit.SATURATED)) != 0,
        1.0,
        1.0,
        fwhm,
        _weight(image.variance, good, 1.0),
    )


def match(reference: Exposure, exposure: Exposure, fwhm: float, *, threads: int = 1) -> Matched:
    """Register, warp, scale and convolve an exposure to the reference.

    All this is the subtraction's own work on its template: the matched template of the reference
    minus the exposure, with the background that the two differ by.

    Parameters
    ----------
    reference
        Of the widest PSF of all.
    exposure
        Another.
    fwhm
        Of its PSF, arcsec.
    threads
        Threads to use.

    Raises
    ------
    residua.errors.ResiduaError
        They do not overlap, or have too few stars in common.
    residua.errors.UnusableImageError
        The stars do not match: wrong astrometry, or another sky.
    """
    image = exposure.image
    template = TemplateImage(
        image.image, image.variance, image.mask, image.wcs, image.psf, image.unit, exposure.name
    )
    config = SubtractionConfig(convolve="template", minimum_coverage=0.05, limits=NO_LIMITS)
    difference = subtract(reference.image, [template], config, threads=threads)
    quality = difference.quality
    if quality.relative_residual_low > _MOST_RESIDUAL:
        raise UnusableImageError(
            f"{exposure.name} does not match {reference.name}: {quality.relative_residual_low:.0%} "
            "of the stars' light is left; astrometry, or another field?",
            residual=quality.relative_residual_low,
        )
    here = (reference.image.image.shape[0], reference.image.image.shape[1])
    pixel_map = make_pixel_map(reference.image.wcs, image.wcs, here)
    matched = difference.matched_template + _background(difference, here)
    bad = (image.mask & np.int32(UNUSABLE)) != 0
    bad = ndimage.binary_dilation(bad, iterations=_GROWN)
    noise = np.where(np.isfinite(image.variance), image.variance, np.float32(0.0))
    wrong = _nearest(bad, pixel_map, here, fill=True)
    saturated = _nearest(
        (image.mask & np.int32(MaskBit.SATURATED)) != 0, pixel_map, here, fill=False
    )
    noise = _nearest(noise, pixel_map, here, fill=np.float32(0.0))
    variance = _propagated(noise, difference)
    good = np.isfinite(matched) & ~wrong & (variance > 0)
    # Where the convolution reached beyond the exposure.
    good &= (difference.mask & np.int32(MaskBit.DETECTION_EDGE)) == 0
    weight = _weight(noise, good, quality.kernel_sum)
    factor = _noise_factor(matched, variance, good)
    matched[~good] = np.nan
    variance = np.where(good, variance * np.float32(factor), np.float32(np.nan))
    return Matched(
        exposure.name,
        matched,
        variance,
        good,
        saturated,
        quality.kernel_sum,
        factor,
        fwhm,
        weight,
    )


def _weight(variance: npt.NDArray[np.float32], good: npt.NDArray[np.bool_], scale: float) -> float:
    sample = variance[::8, ::8][good[::8, ::8]]
    sample = sample[sample > 0.0]
    return 1.0 / (float(np.median(sample)) * scale**2) if sample.size else 0.0


def _background(difference: DifferenceImage, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    polynomial = difference.kernel.background_polynomial
    out = np.empty(shape, np.float32)
    x = np.arange(shape[1])
    for y0 in range(0, shape[0], _STRIP):
        y = np.arange(y0, min(shape[0], y0 + _STRIP))
        out[y0 : y0 + _STRIP] = polynomial.terms(x[None, :], y[:, None]) @ (
            difference.kernel.background
        )
    return out


def _nearest[T: np.generic](
    plane: npt.NDArray[T], pixel_map: PixelMap, shape: tuple[int, int], *, fill: T | bool
) -> npt.NDArray[T]:
    out = np.empty(shape, plane.dtype)
    ny, nx = plane.shape
    x = np.arange(shape[1])[None, :]
    for y0 in range(0, shape[0], _STRIP):
        y = np.arange(y0, min(shape[0], y0 + _STRIP))[:, None]
        with np.errstate(invalid="ignore"):
            there = [np.rint(v) for v in pixel_map.positions(*np.broadcast_arrays(x, y))]
            inside = (there[0] >= 0) & (there[0] < nx) & (there[1] >= 0) & (there[1] < ny)
        column, row = (np.where(inside, v, 0).astype(np.intp) for v in there)
        out[y0 : y0 + _STRIP] = np.where(inside, plane[row, column], fill)
    return out


def _propagated(
    variance: npt.NDArray[np.float32], difference: DifferenceImage
) -> npt.NDArray[np.float32]:
    # Through the convolution, by the kernel of the middle; how much the interpolation took away
    # is measured afterwards.
    ny, nx = variance.shape
    kernel = difference.kernel.stamp((nx - 1) / 2, (ny - 1) / 2).astype(np.float32)
    square = kernel**2
    # What has no variance takes that around it.
    weight = (variance > 0).astype(np.float32)
    total = signal.oaconvolve(variance, square, mode="same")
    covered = signal.oaconvolve(weight, square, mode="same")
    enough = covered > 0.5 * float(square.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        filled = total / covered * np.float32(square.sum())
    return np.where(enough & (filled > 0), filled, np.float32(0.0)).astype(np.float32)


def _noise_factor(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    good: npt.NDArray[np.bool_],
) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        pull = image[::3, ::3][good[::3, ::3]] / np.sqrt(variance[::3, ::3][good[::3, ::3]])
    if pull.size < 100:
        return 1.0
    # The lower half of the sky's distribution: what is above may be sources.
    middle = float(np.median(pull))
    below = middle - float(np.percentile(pull, 15.865))
    return float(np.clip(below**2, _LEAST_FACTOR, _MOST_FACTOR))
