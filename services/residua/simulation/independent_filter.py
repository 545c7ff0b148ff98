"""A matched filter of its own, so that the core is not judged by the core's filter."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from residua.subtraction.images import PsfModel

__all__ = ["FilteredImage", "Peak", "filter_image", "find_peaks", "shift_stamp"]

type Array = npt.NDArray[np.float64]
type Plane = npt.NDArray[np.float32]
type Flags = npt.NDArray[np.bool_]

TILE = 128
"""Pixels over which the PSF is held constant."""


@dataclass(frozen=True)
class FilteredImage:
    """Result of `filter_image`.

    Parameters
    ----------
    signal_to_noise
        float32 (ny, nx); NaN where less than half of the PSF's weight is usable.
    usable
        float32 (ny, nx): the usable fraction of sum P^2.
    """

    signal_to_noise: Plane
    usable: Plane


@dataclass(frozen=True)
class Peak:
    """A local extremum of the matched-filter S/N, at a whole pixel."""

    x: float
    y: float
    signal_to_noise: float


def filter_image(image: Plane, variance: Plane, good: Flags, psf: PsfModel) -> FilteredImage:
    """Filter an image with its local PSF and flat weights.

    ``S = (P x D) / sqrt(P^2 x V)``, pixels that are not good weigh nothing. Weights of 1 / V
    would follow each pixel's own noise, which real variance planes hold.

    Parameters
    ----------
    image, variance
        float32 (ny, nx) and its per-pixel variance.
    good
        bool (ny, nx): pixels to use.
    psf
        PSF of the image.
    """
    ny, nx = image.shape
    noise = np.where(good, variance, np.float32(0.0))
    signal = np.where(good, image, np.float32(0.0))
    reach = psf.size // 2
    size = fft.next_fast_len(TILE + 2 * reach, real=True)
    signal_to_noise = np.full(image.shape, np.nan, np.float32)
    usable = np.zeros(image.shape, np.float32)
    for y in range(0, ny, TILE):
        for x in range(0, nx, TILE):
            rows, columns = min(TILE, ny - y), min(TILE, nx - x)
            stamp = psf.stamp(x + columns / 2.0, y + rows / 2.0)
            # Correlation: the transform of the flipped stamp, its centre at the origin.
            kernel = np.zeros((2, size, size))
            kernel[0, : psf.size, : psf.size] = stamp[::-1, ::-1]
            kernel[1, : psf.size, : psf.size] = stamp[::-1, ::-1] ** 2
            box = (
                slice(max(0, y - reach), y + rows + reach),
                slice(max(0, x - reach), x + columns + reach),
            )
            at = (slice(max(0, reach - y), None), slice(max(0, reach - x), None))
            data = np.zeros((3, size, size))
            for plane, values in zip(data, (signal[box], noise[box], good[box]), strict=True):
                target = plane[at]
                target[: values.shape[0], : values.shape[1]] = values
            spectrum = fft.rfft2(data)
            filters = fft.rfft2(kernel)
            planes = fft.irfft2(spectrum * filters[[0, 1, 1]], (size, size))
            inner = planes[:, 2 * reach : 2 * reach + rows, 2 * reach : 2 * reach + columns]
            fraction = inner[2] / np.sum(stamp**2)
            with np.errstate(invalid="ignore", divide="ignore"):
                ratio = inner[0] / np.sqrt(inner[1])
            ratio[fraction < 0.5] = np.nan
            signal_to_noise[y : y + rows, x : x + columns] = ratio
            usable[y : y + rows, x : x + columns] = fraction
    return FilteredImage(signal_to_noise, usable)


def find_peaks(signal_to_noise: Plane, good: Flags, threshold: float = 5.0) -> tuple[Peak, ...]:
    """Local extrema of abs(S/N) within 7 x 7 px at or above a threshold, on good pixels."""
    size = np.where(good, np.nan_to_num(np.abs(signal_to_noise)), np.float32(0.0))
    highest = ndimage.maximum_filter(size, 7)
    rows, columns = np.nonzero((size == highest) & (size >= threshold))
    return tuple(
        Peak(float(x), float(y), float(signal_to_noise[y, x]))
        for y, x in zip(rows, columns, strict=True)
    )


def shift_stamp(stamp: Array, dx: float, dy: float) -> Array:
    """Move a stamp by a fraction of a pixel, by Fourier phase (exact for a sampled PSF)."""
    pad = 8
    padded = np.pad(stamp, pad)
    moved = ndimage.fourier_shift(np.fft.fft2(padded), (dy, dx))
    return np.asarray(np.fft.ifft2(moved).real[pad:-pad, pad:-pad])
