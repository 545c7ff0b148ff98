"""What resampling and convolution make of a PSF, and what matching will make of the noise."""

import numpy as np
import numpy.typing as npt

from residua.subtraction.images import (
    ConvolvedImage,
    FloatPlane,
    MaskPlane,
    MatchingKernel,
    PsfModel,
    SpatialPolynomial,
)
from residua.subtraction.match.kernel_stars import KernelStars
from residua.subtraction.match.stamp_equations import cut

__all__ = [
    "convolved_psf",
    "noise_factors",
    "photometric_ratio",
]

type Array = npt.NDArray[np.float64]

_FWHM_PER_SIGMA = 2.3548
_APERTURE = 6
_LEAST_KERNEL_SIGMA = 0.5
_LEAST_RATIO, _LARGEST_RATIO = 1e-3, 1e3


def convolved_psf(psf: PsfModel, kernel: MatchingKernel) -> PsfModel:
    """PSF of ``K x S / sum K``, exact wherever the kernel and the PSF are.

    Evaluated on a 5 x 5 grid of positions and fitted with a polynomial of second order.

    Parameters
    ----------
    psf
        PSF of the image before the convolution.
    kernel
        The kernel.
    """
    shape = kernel.polynomial.shape
    order = min(2, psf.polynomial.order + kernel.polynomial.order)
    polynomial = SpatialPolynomial(shape, order)
    y, x = np.meshgrid(
        np.linspace(0, shape[0] - 1, 5), np.linspace(0, shape[1] - 1, 5), indexing="ij"
    )
    stamps = []
    for a, b in zip(x.ravel(), y.ravel(), strict=True):
        stamp = _convolve(psf.stamp(a, b), kernel.stamp(a, b))
        stamps.append(stamp / stamp.sum())
    terms = polynomial.terms(x.ravel(), y.ravel())
    solution, *_ = np.linalg.lstsq(terms, np.stack(stamps).reshape(len(stamps), -1))
    size = stamps[0].shape[0]
    return PsfModel(solution.reshape(-1, size, size), polynomial)


def _convolve(first: Array, second: Array) -> Array:
    """Full convolution of two square stamps (``scipy.signal`` would cost 50 MB to import)."""
    n = first.shape[0] + second.shape[0] - 1
    product = np.fft.rfft2(first, (n, n)) * np.fft.rfft2(second, (n, n))
    return np.fft.irfft2(product, (n, n))


def photometric_ratio(
    science: FloatPlane, template: FloatPlane, mask: MaskPlane, unusable: int, stars: KernelStars
) -> float:
    """Median ratio of science over template flux in apertures on stars; 1 without stars.

    Only for the weights of the fit, which need a scale before the kernel is known.
    """
    offset = np.arange(-_APERTURE, _APERTURE + 1)
    inside = np.hypot(offset, offset[:, None]) <= _APERTURE
    ratios = []
    for x, y in zip(stars.x, stars.y, strict=True):
        flags = cut(mask, int(x), int(y), _APERTURE).astype(np.int64) & unusable
        if np.any(flags[inside] != 0):
            continue
        below = float(cut(template, int(x), int(y), _APERTURE)[inside].sum())
        above = float(cut(science, int(x), int(y), _APERTURE)[inside].sum())
        if below > 0 and above > 0:
            ratios.append(above / below)
    ratio = float(np.median(ratios)) if ratios else 1.0
    return min(max(ratio, _LEAST_RATIO), _LARGEST_RATIO)


def noise_factors(
    science_psf: PsfModel, template_psf: PsfModel, ratio: float, convolved: ConvolvedImage
) -> tuple[float, float]:
    """Estimate what matching does to the science and to the template variance.

    A Gaussian kernel of width ``s`` has ``sum K^2 = ratio^2 / (4 pi s^2)``; its width is
    estimated from the two PSFs.

    Parameters
    ----------
    science_psf, template_psf
        PSFs on the science grid.
    ratio
        Science over template flux of the same star.
    convolved
        Which image is convolved.

    Returns
    -------
    tuple of float
        Factors of the science and the template variance.
    """
    widths = [p.fwhm() / _FWHM_PER_SIGMA for p in (science_psf, template_psf)]
    square = max(abs(widths[0] ** 2 - widths[1] ** 2), _LEAST_KERNEL_SIGMA**2)
    gain = min(1.0 / (4.0 * np.pi * square), 1.0)
    if convolved == "template":
        return 1.0, gain * ratio**2
    return gain / ratio**2, 1.0
