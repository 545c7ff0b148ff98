"""What the two PSFs ask of the matching kernel: which image it convolves, its size, its basis."""

import numpy as np

from residua.subtraction.config import SubtractionConfig
from residua.subtraction.images import ConvolvedImage, PsfModel
from residua.subtraction.pixels.moments import second_moments

__all__ = [
    "KernelGroups",
    "choose_convolution",
    "kernel_groups",
    "kernel_half_width",
    "stamp_half_width",
]

type KernelGroups = tuple[tuple[float, int], ...]
"""Width (pixels) and degree of each Gauss-Hermite group of the basis."""

_MINIMUM_HALF_WIDTH, _MAXIMUM_HALF_WIDTH = 7, 25
_HALF_WIDTH_PER_FWHM, _LEAST_PER_FWHM = 4.4, 3.0
_IMAGE_PER_HALF_WIDTH = 16
_STAMP_MARGIN = 9

# A kernel that blurs in every direction, and one that has to sharpen (docs/concepts/method.md).
_BLURRING: KernelGroups = ((0.75, 4), (1.5, 2), (3.0, 2))
_SHARPENING: KernelGroups = ((0.7, 6), (1.2, 4), (2.0, 2), (4.0, 2))
_WIDEST_SIGMA = 0.4
"""Width of one more, round Gaussian for the far wings, in units of the half width."""
_WIDEST_BLUR = 2.2
"""Gaussian width, pixels, of the kernel that takes one PSF to the other, above which all widths of
the basis grow with it."""
_SHARPENED = -0.08
"""Squared width that the kernel would need across its narrow side, over that of the PSF to be
reached, below which it has to sharpen."""
_LARGEST_SCALE = 1.25
"""With template pixels 1.2 times the science image's either side is sound, with 1.4 times the
decorrelation amplifies noise 871 times, with 2 times 30,955 times."""


def choose_convolution(
    science_psf: PsfModel,
    template_psf: PsfModel,
    config: SubtractionConfig,
    template_scale: float = 1.0,
) -> ConvolvedImage:
    """Name the image to convolve: the sharper one, unless the configuration says which.

    Convolving the blurrier image is deconvolution: every variant of it was worse than convolving
    the science image (docs/concepts/noise.md, "A template worse than the visit"). But a
    template that was sampled coarser than the science image has no noise at high frequencies,
    nor has a science image convolved to its PSF: the decorrelation would make noise of rounding
    errors. Then the template is convolved, even if that deconvolves.

    Parameters
    ----------
    science_psf, template_psf
        PSFs on the science image's pixel grid.
    config
        ``convolve`` decides if it is not ``"auto"``.
    template_scale
        Side of the template's own pixels over that of the science image's.
    """
    if config.convolve != "auto":
        return config.convolve
    sharper = template_psf.fwhm() <= science_psf.fwhm()
    return "template" if sharper or template_scale > _LARGEST_SCALE else "science"


def kernel_half_width(
    science_psf: PsfModel, template_psf: PsfModel, config: SubtractionConfig
) -> int:
    """Half width of the kernel in pixels: 4.4 FWHM of the wider PSF, from 7 to 25 or 3 FWHM.

    The kernel must carry flux into the wings of the wider PSF. Too small a support biases the
    photometric scale and leaves false positives around saturated stars, just outside the
    support. A small image does not spare the border: there it is at most a sixteenth of it.
    """
    if config.kernel_half_width is not None:
        return config.kernel_half_width
    width = max(science_psf.fwhm(), template_psf.fwhm())
    largest = max(_MAXIMUM_HALF_WIDTH, int(np.ceil(_LEAST_PER_FWHM * width)))
    largest = min(largest, min(science_psf.polynomial.shape) // _IMAGE_PER_HALF_WIDTH)
    half_width = min(int(np.ceil(_HALF_WIDTH_PER_FWHM * width)), largest)
    return max(half_width, _MINIMUM_HALF_WIDTH)


def stamp_half_width(half_width: int) -> int:
    """Half width in pixels of the stamps on which a kernel of given half width is fitted."""
    return half_width + _STAMP_MARGIN


def kernel_groups(
    science_psf: PsfModel, template_psf: PsfModel, convolved: ConvolvedImage, half_width: int
) -> KernelGroups:
    """Choose the basis: more and narrower groups where the kernel has to sharpen.

    That is so when the science image is convolved, whose noise leaves no room for a wider
    kernel, and when the PSFs are elongated across each other: then the sharper image is still
    the blurrier one along some direction.

    Parameters
    ----------
    science_psf, template_psf
        PSFs on the science image's pixel grid; their shapes at its centre decide.
    convolved
        Which image is convolved.
    half_width
        Of the kernel, pixels: a wide kernel has a wide Gaussian for its wings.
    """
    source, target = (
        (template_psf, science_psf) if convolved == "template" else (science_psf, template_psf)
    )
    ny, nx = science_psf.polynomial.shape
    source_moments, target_moments = (
        second_moments(p.stamp((nx - 1) / 2, (ny - 1) / 2)) for p in (source, target)
    )
    narrow = float(np.linalg.eigvalsh(target_moments - source_moments)[0])
    sharpens = narrow < _SHARPENED * 0.5 * float(np.trace(target_moments))
    groups = _SHARPENING if convolved == "science" or sharpens else _BLURRING
    # The widths are those of kernels of up to 2.2 px; of wider ones, in proportion.
    blur = np.sqrt(max(0.5 * float(np.trace(target_moments - source_moments)), 0.0))
    factor = max(1.0, blur / _WIDEST_BLUR)
    groups = tuple((sigma * factor, degree) for sigma, degree in groups)
    if _WIDEST_SIGMA * half_width > 1.25 * groups[-1][0]:
        groups = (*groups, (_WIDEST_SIGMA * half_width, 0))
    return groups
