"""Measurement of the quality record."""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.images import FloatPlane, MatchingKernel

__all__ = [
    "SkyStatistics",
    "input_autocorrelation",
    "kernel_sums",
    "sky_statistics",
    "star_peaks",
]

type BoolPlane = npt.NDArray[np.bool_]

_SOURCE_SIGMAS = 1.5
_BRIGHT_CAP = 25.0
_BRIGHT_SIGMAS = 5.0
_PEAK_SIGMAS = 20.0
_PEAK_BOX = 4
_SN_LIMIT = 5.0
_TARGET_ROWS = 1000
_BLOCK = 32
_TARGET_BLOCKS = 400


@dataclass(frozen=True)
class SkyStatistics:
    """Statistics of the noise of a difference image, on a sample of its rows.

    Parameters
    ----------
    sky_pixels
        Source-free pixels of the whole image, estimated from the sample.
    pull_rms
        rms of image / sqrt(variance) on source-free pixels, without those beyond 5 sigma.
    bright_pull_rms
        The same where the matched template is bright, each pixel counting as 5 sigma at most
        (``z^2`` is cut at 25, so that one transient on a bright host cannot condemn an image;
        the figure cannot exceed 5); NaN without any.
    lag1_autocorrelation
        Mean of the autocorrelations at one pixel in x and y.
    matched_filter_sn_std
        rms of the S/N on source-free pixels, without those beyond 5.
    """

    sky_pixels: int
    pull_rms: float
    bright_pull_rms: float
    lag1_autocorrelation: float
    matched_filter_sn_std: float


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _accumulate(
    image: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    sn: npt.NDArray[np.float32],
    model: npt.NDArray[np.float32],
    good: npt.NDArray[np.bool_],
    step: int,
    faint: float,
    bright: float,
    limit: float,
    out: npt.NDArray[np.float64],
) -> None:
    """Add up pairs (count, sum): pull^2; lag in x; lag in y; bright pull^2; S/N^2."""
    ny, nx = image.shape
    for y in range(0, ny - 1, step):
        for x in range(nx - 1):
            if not good[y, x]:
                continue
            z = image[y, x] / np.sqrt(variance[y, x])
            if model[y, x] > bright:
                out[6] += 1.0
                # Capped: a real transient on a bright host is no fault of the subtraction.
                out[7] += min(z * z, _BRIGHT_CAP)
            if not (model[y, x] < faint and abs(z) < limit):
                continue
            out[0] += 1.0
            out[1] += z * z
            if good[y, x + 1] and model[y, x + 1] < faint:
                w = image[y, x + 1] / np.sqrt(variance[y, x + 1])
                if abs(w) < limit:
                    out[2] += 1.0
                    out[3] += z * w
            if good[y + 1, x] and model[y + 1, x] < faint:
                w = image[y + 1, x] / np.sqrt(variance[y + 1, x])
                if abs(w) < limit:
                    out[4] += 1.0
                    out[5] += z * w
            s = sn[y, x]
            if abs(s) < limit:
                out[8] += 1.0
                out[9] += s * s


def sky_statistics(
    image: FloatPlane,
    variance: FloatPlane,
    signal_to_noise: FloatPlane,
    matched_template: FloatPlane,
    good: BoolPlane,
    sigma: float,
) -> SkyStatistics:
    """Statistics of the noise, where the matched template shows no source.

    Parameters
    ----------
    image, variance
        float32 (ny, nx), decorrelated difference.
    signal_to_noise
        float32 (ny, nx) of the matched filter.
    matched_template
        float32 (ny, nx), scale of the difference.
    good
        bool (ny, nx).
    sigma
        Noise of the difference's sky, unit of the image.
    """
    step = max(1, image.shape[0] // _TARGET_ROWS)
    sums = np.zeros(10)
    _accumulate(
        image, variance, signal_to_noise, matched_template, good, step,
        _SOURCE_SIGMAS * sigma, _BRIGHT_SIGMAS * sigma, _SN_LIMIT, sums,
    )  # fmt: skip

    def ratio(k: int) -> float:
        return float(sums[k + 1] / sums[k]) if sums[k] > 0 else float("nan")

    pull2 = ratio(0)
    return SkyStatistics(
        sky_pixels=int(sums[0]) * step,
        pull_rms=float(np.sqrt(pull2)),
        bright_pull_rms=float(np.sqrt(ratio(6))),
        lag1_autocorrelation=0.5 * (ratio(2) + ratio(4)) / pull2,
        matched_filter_sn_std=float(np.sqrt(ratio(8))),
    )


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _lag_products(
    image: npt.NDArray[np.float32],
    model: npt.NDArray[np.float32],
    good: npt.NDArray[np.bool_],
    stride: int,
    faint: float,
    limit: float,
) -> tuple[float, float]:
    """Sum of squares and of neighbours' products about the mean of each block, per pixel."""
    ny, nx = image.shape
    square = product = 0.0
    n_square = n_product = 0.0
    sky = np.empty((_BLOCK, _BLOCK), np.bool_)
    for y0 in range(0, ny - _BLOCK + 1, stride):
        for x0 in range(0, nx - _BLOCK + 1, stride):
            total, count = 0.0, 0
            for b in range(_BLOCK):
                for a in range(_BLOCK):
                    y, x = y0 + b, x0 + a
                    sky[b, a] = good[y, x] and abs(model[y, x]) < faint and abs(image[y, x]) < limit
                    if sky[b, a]:
                        total += image[y, x]
                        count += 1
            if count < _BLOCK * _BLOCK // 4:
                continue
            mean = total / count
            for b in range(_BLOCK - 1):
                for a in range(_BLOCK - 1):
                    if not sky[b, a]:
                        continue
                    value = image[y0 + b, x0 + a] - mean
                    square += value * value
                    n_square += 1.0
                    if sky[b, a + 1]:
                        product += value * (image[y0 + b, x0 + a + 1] - mean)
                        n_product += 1.0
                    if sky[b + 1, a]:
                        product += value * (image[y0 + b + 1, x0 + a] - mean)
                        n_product += 1.0
    if n_square == 0.0 or n_product == 0.0:
        return np.nan, np.nan
    return square / n_square, product / n_product


def input_autocorrelation(
    image: FloatPlane, matched_template: FloatPlane, good: BoolPlane, sigma: float
) -> float:
    """Noise autocorrelation at one pixel of an input image's sky, mean of both axes.

    Parameters
    ----------
    image
        float32 (ny, nx), background-subtracted; smooth backgrounds do not matter.
    matched_template
        float32 (ny, nx): pixels within 1.5 sigma of 0 count as sky.
    good
        bool (ny, nx).
    sigma
        Noise of a pixel, unit of the image.

    Returns
    -------
    float
        0 for white noise; NaN when no block of 32 x 32 px has sky enough.
    """
    stride = max(_BLOCK, int(np.sqrt(image.size / _TARGET_BLOCKS)))
    variance, covariance = _lag_products(
        image, matched_template, good, stride, _SOURCE_SIGMAS * sigma, 4.0 * sigma
    )
    return float(covariance / variance) if variance > 0 else float("nan")


def star_peaks(
    matched_template: FloatPlane,
    x: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
    sigma: float,
) -> float:
    """Fraction of peaks with a template pixel above 20 sigma within 4 px; NaN without peaks."""
    if len(x) == 0:
        return float("nan")
    ny, nx = matched_template.shape
    offset = np.arange(-_PEAK_BOX, _PEAK_BOX + 1)
    rows = np.clip(y[:, None] + offset, 0, ny - 1)
    columns = np.clip(x[:, None] + offset, 0, nx - 1)
    boxes = matched_template[rows[:, :, None], columns[:, None, :]]
    return float(np.mean(np.max(boxes, axis=(1, 2)) > _PEAK_SIGMAS * sigma))


def kernel_sums(kernel: MatchingKernel) -> tuple[float, float]:
    """Sum of the kernel at the centre, and (max - min) / centre on a 9 x 9 grid."""
    ny, nx = kernel.polynomial.shape
    weights = kernel.coefficients.T @ kernel.basis.sum(axis=(1, 2))
    y, x = np.meshgrid(np.linspace(0, ny - 1, 9), np.linspace(0, nx - 1, 9), indexing="ij")
    sums = kernel.polynomial.terms(x, y) @ weights
    centre = float(sums[4, 4])
    return centre, float((sums.max() - sums.min()) / centre)
