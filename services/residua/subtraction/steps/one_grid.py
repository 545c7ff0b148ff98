"""Both images on the science image's pixels: saturation flagged, registered, warped, cleaned."""

from collections.abc import Sequence
from dataclasses import dataclass

from residua.subtraction.align.coverage import warp_covering
from residua.subtraction.align.pixel_map import PixelMap, make_pixel_map
from residua.subtraction.align.registration import (
    Registration,
    measure_registration,
    register_map,
)
from residua.subtraction.align.warp import WarpedTemplate
from residua.subtraction.config import SubtractionConfig
from residua.subtraction.engine.buffers import Loans
from residua.subtraction.engine.window import whole
from residua.subtraction.errors import caused_by
from residua.subtraction.images import ScienceImage, TemplateImage
from residua.subtraction.pixels.difference_mask import TEMPLATE_FLAGS
from residua.subtraction.pixels.prepare import clean_science
from residua.subtraction.pixels.saturation import with_saturation
from residua.subtraction.steps.passes import Frame, merge_and_fill
from residua.subtraction.steps.solution import MAP_BITS, InputUse, TemplateUse, fingerprint

__all__ = ["OneGrid", "bring_to_one_grid"]


@dataclass(frozen=True)
class OneGrid:
    """Both images on one grid, and how they came there.

    Parameters
    ----------
    science, templates
        As they were given, their saturation flagged.
    science_use, template_uses
        What is to be remembered of them.
    saturation_levels
        Of those whose saturation was unknown: name, and where it is cut off, unit of the image.
    frame
        Their pixels, cleaned.
    pixel_maps
        From the science image's pixels to each template's, registered, in their kept form.
    registration
        Shift between the images.
    warped
        The template of the frame, with its noise.
    coverage
        Fraction of the usable pixels that have template data.
    """

    science: ScienceImage
    templates: tuple[TemplateImage, ...]
    science_use: InputUse
    template_uses: tuple[TemplateUse, ...]
    saturation_levels: tuple[tuple[str, float], ...]
    frame: Frame
    pixel_maps: tuple[PixelMap, ...]
    registration: Registration
    warped: WarpedTemplate
    coverage: float


def bring_to_one_grid(
    given: ScienceImage,
    patches: Sequence[TemplateImage],
    config: SubtractionConfig,
    loans: Loans,
    *,
    threads: int,
) -> OneGrid:
    """Put the template where its stars lie under the science image's own.

    Parameters
    ----------
    given, patches
        Visit image and templates.
    config
        Least coverage.
    loans
        Memory; what the frame holds stays lent.
    threads
        Threads to use; the result does not depend on it.

    Raises
    ------
    InsufficientCoverageError
        If the templates cover too little of the detector.
    """
    science, science_level = with_saturation(given)
    flagged = [with_saturation(patch) for patch in patches]
    templates = tuple(patch for patch, _ in flagged)
    levels = [("science", science_level)] + [(patch.name, level) for patch, level in flagged]
    science_use = _use(science, science_level)
    template_uses = [_use(patch, level) for patch, level in flagged]
    shape = (science.image.shape[0], science.image.shape[1])
    science_mask = loans.mask_plane("science mask")
    with caused_by("science"):
        image, variance = clean_science(science, science_mask, threads=threads)

    pixel_maps = [make_pixel_map(science.wcs, t.wcs, shape) for t in templates]
    registration = measure_registration(
        image, variance, science_mask, templates, pixel_maps, TEMPLATE_FLAGS
    )
    pixel_maps = [register_map(m, registration.field).rounded(MAP_BITS) for m in pixel_maps]
    warped, coverage = warp_covering(
        science, templates, science_mask, pixel_maps,
        (
            loans.float_plane("template"), loans.float_plane("template variance"),
            loans.mask_plane("template mask"),
        ),
        config, threads,
    )  # fmt: skip
    frame = Frame(
        whole(shape), image, variance, science_mask,
        warped.image, warped.variance, warped.mask, loans.mask_plane("mask"),
    )  # fmt: skip
    merge_and_fill(frame, threads=threads)
    return OneGrid(
        science,
        templates,
        science_use,
        tuple(
            TemplateUse(use, t.name, m)
            for use, t, m in zip(template_uses, templates, pixel_maps, strict=True)
        ),
        tuple((name, level) for name, level in levels if level is not None),
        frame,
        tuple(pixel_maps),
        registration,
        warped,
        coverage,
    )


def _use(image: ScienceImage | TemplateImage, level: float | None) -> InputUse:
    ny, nx = image.image.shape
    return InputUse((ny, nx), fingerprint(image), None if level is None else float(level))
