"""Where the matching kernel comes from: the stars of the images, or their two given PSFs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from residua.subtraction.config import SubtractionConfig
from residua.subtraction.errors import InsufficientKernelStarsError
from residua.subtraction.images import ConvolvedImage, FloatPlane, MaskPlane
from residua.subtraction.masks import UNUSABLE
from residua.subtraction.match.few.kernel_of_psfs import kernel_of_psfs, scale_of_sources
from residua.subtraction.match.kernel import KernelFit, fit_equations, kernel_equations
from residua.subtraction.match.kernel_shape import kernel_groups, stamp_half_width
from residua.subtraction.match.kernel_stars import KernelStars, select_kernel_stars
from residua.subtraction.match.stamp_equations import StampNoise
from residua.subtraction.pieces.fit import with_pieces, worth_a_look
from residua.subtraction.pieces.labels import PieceMap
from residua.subtraction.psf.given import ChosenPsf
from residua.subtraction.psf.resampling import noise_factors, photometric_ratio

__all__ = ["Images", "Match", "match_images"]

_FEW_STARS = 5
"""Below, two given PSFs know the kernel better than the stars do, if the scale is known."""
_CALIBRATED = "nJy"


@dataclass(frozen=True)
class Images:
    """Both images on one grid.

    Parameters
    ----------
    science, science_variance, science_mask
        float32, float32, int32 (ny, nx), cleaned; filled where they will be convolved.
    template, template_variance
        float32 (ny, nx), warped.
    mask
        int32 (ny, nx), union of both.
    unit
        Of both.
    """

    science: FloatPlane
    science_variance: FloatPlane
    science_mask: MaskPlane
    template: FloatPlane
    template_variance: FloatPlane
    mask: MaskPlane
    unit: str


@dataclass(frozen=True)
class Match:
    """The kernel, and what matching makes of the noise.

    Parameters
    ----------
    fit
        The kernel.
    noise_factors
        Of the science and of the template variance, about.
    """

    fit: KernelFit
    noise_factors: tuple[float, float]


def match_images(
    images: Images,
    science_psf: ChosenPsf,
    template_psf: ChosenPsf,
    config: SubtractionConfig,
    *,
    convolved: ConvolvedImage,
    half_width: int,
    pieces: Callable[[], PieceMap | None] = lambda: None,
    threads: int = 1,
) -> Match:
    """Find the matching kernel.

    It is fitted to stars. Where they are too few and both images bring a PSF, it follows from
    these; its scale is 1 for calibrated images, else that of the sources, if they know it.

    Parameters
    ----------
    images
        Both images.
    science_psf, template_psf
        Their PSFs.
    config
        Choices.
    convolved
        Which image to convolve.
    half_width
        Half width of the kernel, pixels.
    pieces
        Says where the template's pieces lie; asked only where one kernel leaves much of the stars.
    threads
        Threads to use; the result does not depend on it.

    Raises
    ------
    InsufficientKernelStarsError
        If there are too few stars and not both PSFs.
    """
    target, source, source_variance = (
        (images.science, images.template, images.template_variance)
        if convolved == "template"
        else (images.template, images.science, images.science_variance)
    )
    bits = int(UNUSABLE)

    def stars_of(source: FloatPlane, variance: FloatPlane, mask: MaskPlane) -> KernelStars:
        return select_kernel_stars(
            images.science, images.science_variance, source, variance, mask, bits,
            stamp_half_width=stamp_half_width(half_width), kernel_half_width=half_width,
        )  # fmt: skip

    stars = stars_of(source, source_variance, images.mask)
    ratio = photometric_ratio(images.science, images.template, images.mask, bits, stars)
    factors = noise_factors(science_psf.psf, template_psf.psf, ratio, convolved)
    groups = kernel_groups(science_psf.psf, template_psf.psf, convolved, half_width)
    given = science_psf.given and template_psf.given

    def implied() -> KernelFit:
        fit = kernel_of_psfs(
            science_psf.psf, template_psf.psf,
            convolved=convolved, half_width=half_width, groups=groups,
            background_order=config.background_order,
        )  # fmt: skip
        if images.unit == _CALIBRATED:
            return fit
        noise = images.science_variance * np.float32(factors[0])
        noise += images.template_variance * np.float32(factors[1])
        return scale_of_sources(fit, source, target, noise, (images.mask & bits) == 0)

    if given and images.unit == _CALIBRATED and len(stars) < _FEW_STARS:
        return Match(implied(), factors)
    noise = StampNoise(
        images.science_variance, images.template_variance, *factors, images.mask, bits
    )
    try:
        basis, equations = kernel_equations(
            images.science, images.template, noise, stars, config,
            convolved=convolved, half_width=half_width, groups=groups, threads=threads,
        )  # fmt: skip
        shape = (images.science.shape[0], images.science.shape[1])
        fit = fit_equations(
            equations, basis, groups, shape, config, convolved=convolved, half_width=half_width
        )
    except InsufficientKernelStarsError as e:
        if given:
            return Match(implied(), factors)
        # Has the visit image stars enough where no template stands in the way?
        alone = stars_of(images.science, images.science_variance, images.science_mask)
        e.input = "template" if len(alone.x) >= config.minimum_kernel_stars else "science"
        raise
    # The science image has one PSF; only a template is put together of pieces.
    if convolved == "template" and worth_a_look(fit, equations):
        known = pieces()
        if known is not None:
            fit = with_pieces(fit, equations, basis, groups, config, known)
    return Match(fit, factors)
