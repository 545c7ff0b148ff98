"""The two PSFs, and what they decide: which image is convolved, how far, and what is a hit."""

from dataclasses import dataclass, replace

import numpy as np

from residua.subtraction.config import SubtractionConfig
from residua.subtraction.engine.buffers import Loans
from residua.subtraction.engine.threads import run_beside
from residua.subtraction.errors import caused_by
from residua.subtraction.images import ConvolvedImage, FloatPlane, MaskPlane
from residua.subtraction.masks import UNUSABLE
from residua.subtraction.match.kernel_shape import choose_convolution, kernel_half_width
from residua.subtraction.pixels.cosmic_rays import hits_in_both, sharpness_limit
from residua.subtraction.pixels.peaks import noise_level
from residua.subtraction.psf.given import ChosenPsf, choose_psf, given_template_psf
from residua.subtraction.psf.same_stars import with_stars_of
from residua.subtraction.psf.stars import OtherImage
from residua.subtraction.steps.one_grid import OneGrid
from residua.subtraction.steps.passes import Frame, fill_science, mark_hits
from residua.subtraction.steps.solution import SCIENCE_PSF_BITS

__all__ = ["Roles", "choose_roles"]

_STARS_OF_PSF, _STARS_FOR_WIDTH = 120, 40
_SEEN_SIGMAS = 5.0


@dataclass(frozen=True)
class Roles:
    """What the PSFs of both images decide.

    Parameters
    ----------
    science_psf, template_psf
        PSF of the science image, in its kept form, and of the template, on the science image's
        pixels.
    sharpness, template_sharpness
        Beyond which a peak is a hit; `None` for an image in which nothing was marked so.
    sharp_in_both
        Peaks that are too sharp in both images: the PSFs are wrong rather than the pixels.
    convolved
        Which image is.
    half_width
        Of its kernel, pixels.
    frame
        Hits are marked, and a science image to be convolved is filled.
    """

    science_psf: ChosenPsf
    template_psf: ChosenPsf
    sharpness: float | None
    template_sharpness: float | None
    sharp_in_both: int
    convolved: ConvolvedImage
    half_width: int
    frame: Frame


def choose_roles(grid: OneGrid, config: SubtractionConfig, loans: Loans, *, threads: int) -> Roles:
    """Measure the PSFs, or take the given ones; mark hits; choose the image to convolve.

    Parameters
    ----------
    grid
        Both images; pixels and masks of its frame change.
    config
        Choices.
    loans
        Memory.
    threads
        Threads to use; the result does not depend on it.

    Raises
    ------
    InsufficientKernelStarsError
        If there are too few stars for a PSF.
    """
    frame = grid.frame
    science, template = _psfs(grid, threads)
    sharpness, template_sharpness = mark_hits(
        frame,
        (sharpness_limit(science.psf), sharpness_limit(template.psf)),
        threads=threads,
        bounded=True,
    )
    sharp_in_both = hits_in_both(frame.science_mask, frame.template_mask)
    template_scale = float(abs(np.linalg.det(grid.warped.jacobian)) ** -0.5)
    convolved = choose_convolution(science.psf, template.psf, config, template_scale)
    half_width = kernel_half_width(science.psf, template.psf, config)
    if convolved == "science":
        filled = fill_science(frame, loans.float_plane("filled science"), threads=threads)
        frame = replace(frame, image=filled)
    return Roles(
        science,
        template,
        sharpness,
        template_sharpness,
        sharp_in_both,
        convolved,
        half_width,
        frame,
    )


def _psfs(grid: OneGrid, threads: int) -> tuple[ChosenPsf, ChosenPsf]:
    """PSFs of the science image, as it is kept, and of the template."""
    frame = grid.frame
    measured = run_beside(
        lambda: choose_psf(
            grid.science.psf, frame.image, frame.variance, frame.science_mask,
            maximum_stars=_STARS_OF_PSF,
            other=_seen_in(frame.template, frame.template_variance, frame.merged),
        ),
        threads=threads,
    )  # fmt: skip
    with caused_by("template"):
        # Mostly its width alone is needed: to choose the roles and the size of the kernel.
        template_psf = choose_psf(
            given_template_psf(grid.templates, grid.pixel_maps, frame.window.image),
            frame.template, frame.template_variance, frame.template_mask,
            maximum_stars=_STARS_FOR_WIDTH,
            other=_seen_in(frame.image, frame.variance, frame.merged),
        )  # fmt: skip
    with caused_by("science"):
        science_psf = measured()
    found = science_psf, template_psf
    science_psf = with_stars_of(*found, frame.image, frame.variance, frame.science_mask)
    template_psf = with_stars_of(
        *found[::-1], frame.template, frame.template_variance, frame.template_mask
    )
    return replace(science_psf, psf=science_psf.psf.rounded(SCIENCE_PSF_BITS)), template_psf


def _seen_in(image: FloatPlane, variance: FloatPlane, mask: MaskPlane) -> OtherImage:
    """Tell what an image shows: pixels of five times its noise."""
    return image, _SEEN_SIGMAS * noise_level(variance, mask, int(UNUSABLE))
