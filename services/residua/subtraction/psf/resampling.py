"""What resampling and convolution make of a PSF, and what matching will make of the noise."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from residua.subtraction.align.warp import WarpedTemplate
from residua.subtraction.errors import InsufficientKernelStarsError, NumericalError
from residua.subtraction.images import (
    ConvolvedImage,
    FloatPlane,
    MaskPlane,
    MatchingKernel,
    PsfModel,
    SpatialPolynomial,
    TemplateImage,
)
from residua.subtraction.match.kernel_stars import KernelStars
from residua.subtraction.match.stamps import cut
from residua.subtraction.psf.measure import measure_psf

__all__ = [
    "convolved_psf",
    "noise_factors",
    "photometric_ratio",
    "psf_of_template",
    "psf_on_science_grid",
]

type Array = npt.NDArray[np.float64]

_FWHM_PER_SIGMA = 2.3548
_STARS_FOR_WIDTH = 40
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


def psf_on_science_grid(
    template: TemplateImage, jacobian: npt.NDArray[np.float64], shape: tuple[int, int]
) -> PsfModel:
    """PSF at a template's centre, resampled to the science image's pixels.

    Parameters
    ----------
    template
        A template with a PSF model.
    jacobian
        float64 (2, 2): d(template x, y) / d(science x, y).
    shape
        (ny, nx) of the science image.

    Returns
    -------
    PsfModel
        Constant over the image.
    """
    # Hardly ever needed, and 30 MB.
    from scipy.ndimage import map_coordinates

    assert template.psf is not None
    ny, nx = template.image.shape
    stamp = template.psf.stamp((nx - 1) / 2, (ny - 1) / 2)
    scale = np.sqrt(abs(np.linalg.det(jacobian)))
    half = int(np.ceil((stamp.shape[0] // 2) / scale))
    offset = np.arange(-half, half + 1.0)
    dx, dy = np.meshgrid(offset, offset)
    at_x = jacobian[0, 0] * dx + jacobian[0, 1] * dy + stamp.shape[0] // 2
    at_y = jacobian[1, 0] * dx + jacobian[1, 1] * dy + stamp.shape[0] // 2
    resampled = map_coordinates(stamp, [at_y, at_x], order=3)
    return PsfModel((resampled / resampled.sum())[None], SpatialPolynomial(shape, 0))


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


def psf_of_template(
    warped: WarpedTemplate, templates: Sequence[TemplateImage], shape: tuple[int, int]
) -> PsfModel:
    """PSF of the warped template: measured on it, else the given one, resampled.

    Parameters
    ----------
    warped
        The template on the science image's grid.
    templates
        What it was made of.
    shape
        (ny, nx) of the science image.

    Raises
    ------
    InsufficientKernelStarsError
        If no star is found and no template brings a model.
    NumericalError
        If the stars determine no finite model and no template brings one.
    """
    try:
        # Its width alone is needed: to choose the roles and the size of the kernel.
        return measure_psf(
            warped.image, warped.variance, warped.mask, maximum_stars=_STARS_FOR_WIDTH
        )[0]
    except (InsufficientKernelStarsError, NumericalError):
        given = [t for t in templates if t.psf is not None]
        if not given:
            raise
        return psf_on_science_grid(given[0], warped.jacobian, shape)
