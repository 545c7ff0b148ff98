"""The image of a solution: everything that is local, and nothing else."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from residua.subtraction.align.warp import carried_bits, plan_warp, warp_planes, whole_section
from residua.subtraction.engine.buffers import Loans, PlanePool
from residua.subtraction.engine.window import whole
from residua.subtraction.errors import StaleSolutionError, UnknownArithmeticError
from residua.subtraction.images import (
    DifferenceImage,
    FloatPlane,
    MaskPlane,
    ScienceImage,
    TemplateImage,
)
from residua.subtraction.match.difference import blank_missing, subtract_matched
from residua.subtraction.noise.decorrelate import decorrelate
from residua.subtraction.passes import (
    Frame,
    fill_science,
    mark_found,
    mark_hits,
    mask_and_match,
    merge_and_fill,
    preview,
)
from residua.subtraction.pixels.difference_mask import TEMPLATE_FLAGS
from residua.subtraction.pixels.prepare import check_images, clean_science
from residua.subtraction.pixels.saturation import flag_above
from residua.subtraction.solution import ARITHMETIC, InputUse, Solution, fingerprint

__all__ = ["apply", "check_arithmetic", "image_of"]


def apply(
    solution: Solution,
    science: ScienceImage,
    templates: Sequence[TemplateImage],
    *,
    threads: int = 2,
    planes: PlanePool | None = None,
) -> DifferenceImage:
    """Make the difference image of a solution.

    No fit, no detection: what `residua.subtraction.solve.solve` found is put to the pixels. The
    result is the same, bit for bit, as that of the run which found the solution, in another
    process, with another number of threads and on another CPU (see ``docs/determinism.md``).

    Parameters
    ----------
    solution
        From `residua.subtraction.solve.solve`, or kept since.
    science, templates
        The very images it was made from, the templates in the same order.
    threads
        Threads to use; the result does not depend on it.
    planes
        Buffers to reuse, as for `residua.subtraction.subtract.subtract`.

    Returns
    -------
    DifferenceImage

    Raises
    ------
    UnknownArithmeticError
        If the solution belongs to pixel passes of another version.
    StaleSolutionError
        If an input is not the one of the solution.
    BadImageError
        If the images' planes do not fit together.
    """
    check_images(science, templates)
    _check(solution, science, templates)
    frame, matched, good, loans = _matched(solution, science, templates, threads, planes)
    convolved, kernel, filters = solution.convolved, solution.kernel, solution.filters
    loans.give_back("science mask")
    difference = subtract_matched(
        frame.image, frame.template, matched, kernel.kernel, convolved,
        window=frame.window, threads=threads, out=loans.float_plane("difference"),
    )  # fmt: skip
    loans.give_back("template mask")
    white = decorrelate(
        difference, good, frame.variance, frame.template_variance, filters,
        window=frame.window, threads=threads,
        out_image=loans.float_plane("decorrelated"), out_variance=loans.float_plane("variance"),
    )  # fmt: skip
    template = preview(frame, matched, solution.quality.kernel_sum, convolved)
    mark_found(frame, good, solution.streaks, solution.footprints)
    blank_missing(frame.merged, (white.image, white.variance, template), threads=threads)
    return image_of(solution, science, white.image, white.variance, frame.merged, template)


def image_of(
    solution: Solution,
    science: ScienceImage,
    image: FloatPlane,
    variance: FloatPlane,
    mask: MaskPlane,
    matched_template: FloatPlane,
) -> DifferenceImage:
    """Put a solution's planes and all that it knows of them together."""
    return DifferenceImage(
        image=image,
        variance=variance,
        mask=mask,
        wcs=science.wcs,
        psf=solution.filters.psf,
        science_psf=solution.science_psf,
        unit=solution.unit,
        kernel=solution.kernel.kernel,
        convolved=solution.convolved,
        matched_template=matched_template,
        detections=solution.detections,
        quality=solution.quality,
    )


def _matched(
    solution: Solution,
    science: ScienceImage,
    templates: Sequence[TemplateImage],
    threads: int,
    planes: PlanePool | None,
) -> tuple[Frame, FloatPlane, np.ndarray[tuple[int, int], np.dtype[np.bool_]], Loans]:
    """Both images cleaned, on one grid, masked, and one of them convolved."""
    window = whole(solution.shape)
    loans = Loans(planes or PlanePool(), window.shape)
    science_mask, merged = loans.mask_plane("science mask"), loans.mask_plane("mask")
    science = _saturated(science, solution.science)
    image, variance = clean_science(science, science_mask, part=True, threads=threads)
    template: tuple[FloatPlane, FloatPlane, MaskPlane] = (
        loans.float_plane("template"),
        loans.float_plane("template variance"),
        loans.mask_plane("template mask"),
    )
    uses = solution.templates
    plan = plan_warp([t.input.shape for t in uses], [t.pixel_map for t in uses], solution.shape)
    sections = [
        whole_section(_saturated(t, use.input)) for t, use in zip(templates, uses, strict=True)
    ]
    warp_planes(
        plan, sections, carried_bits(TEMPLATE_FLAGS), template, window=window, threads=threads
    )
    frame = Frame(window, image, variance, science_mask, *template, merged)
    merge_and_fill(frame, threads=threads)
    mark_hits(frame, solution.sharpness)
    if solution.convolved == "science":
        filled = fill_science(frame, loans.float_plane("filled science"), threads=threads)
        frame = replace(frame, image=filled)
    matched = loans.float_plane("matched")
    good = mask_and_match(
        frame, solution.kernel.applied, solution.convolved,
        reach=solution.kernel.reach, border=solution.kernel.border, out=matched, threads=threads,
    )  # fmt: skip
    return frame, matched, good, loans


def _saturated[Image: (ScienceImage, TemplateImage)](image: Image, use: InputUse) -> Image:
    if use.saturation is None:
        return image
    pixels = np.ascontiguousarray(image.image, np.float32)
    return replace(image, mask=flag_above(pixels, image.mask, use.saturation))


def _check(solution: Solution, science: ScienceImage, templates: Sequence[TemplateImage]) -> None:
    check_arithmetic(solution)
    if len(templates) != len(solution.templates):
        raise StaleSolutionError(
            f"the solution was made from {len(solution.templates)} template patches, not "
            f"{len(templates)}: give those that its outcome names",
            templates=len(templates),
        )
    named: list[tuple[str, ScienceImage | TemplateImage, InputUse]]
    named = [("the science image", science, solution.science)]
    for template, known in zip(templates, solution.templates, strict=True):
        named.append((f"template {template.name}", template, known.input))
    for name, image, use in named:
        if image.image.shape != use.shape:
            raise StaleSolutionError(
                f"{name} has the shape {image.image.shape}, the one of the solution {use.shape}: "
                "give the file that its outcome names",
            )
        if fingerprint(image) != use.fingerprint:
            raise StaleSolutionError(
                f"{name} is not the one of the solution: its pixels have changed, or it is read "
                "with another calibration; put the old file back, or subtract anew",
            )


def check_arithmetic(solution: Solution) -> None:
    """Raise unless this version has the solution's pixel passes.

    Raises
    ------
    UnknownArithmeticError
        If it has not.
    """
    if solution.arithmetic != ARITHMETIC:
        raise UnknownArithmeticError(
            f"the solution belongs to pixel arithmetic {solution.arithmetic}, this version has "
            f"{ARITHMETIC}: use the version that made it, or subtract anew",
            arithmetic=solution.arithmetic,
            supported=ARITHMETIC,
        )
