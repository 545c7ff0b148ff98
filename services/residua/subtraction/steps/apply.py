"""The image of a solution: everything that is local, and nothing else."""

from collections.abc import Sequence
from dataclasses import replace
from typing import overload

import numpy as np

from residua.subtraction.align.warp import carried_bits, warp_planes
from residua.subtraction.engine.buffers import Loans, PlanePool
from residua.subtraction.engine.window import Window, whole
from residua.subtraction.images import (
    DifferenceImage,
    FloatPlane,
    MaskPlane,
    ScienceImage,
    TemplateImage,
)
from residua.subtraction.match.difference import blank_missing, subtract_matched
from residua.subtraction.noise.decorrelate import decorrelate
from residua.subtraction.pixels.difference_mask import TEMPLATE_FLAGS, WRONG_FLUX
from residua.subtraction.pixels.infill import undecided
from residua.subtraction.pixels.prepare import check_images, clean_science
from residua.subtraction.steps.input_checks import check_arithmetic, check_inputs, check_sizes
from residua.subtraction.steps.passes import (
    Frame,
    fill_science,
    mark_found,
    mark_hits,
    mask_and_match,
    merge_and_fill,
    preview,
)
from residua.subtraction.steps.region import (
    FILL_REACH,
    HITS,
    DifferenceRegion,
    PlaneSource,
    bounds,
    cut,
    enclosing,
    enclosing_exactly,
    margin,
    read_window,
    saturated,
    section,
)
from residua.subtraction.steps.solution import Solution

__all__ = ["apply", "image_of"]


@overload
def apply(
    solution: Solution,
    science: ScienceImage,
    templates: Sequence[TemplateImage],
    *,
    box: None = None,
    threads: int = 2,
    planes: PlanePool | None = None,
) -> DifferenceImage: ...


@overload
def apply(
    solution: Solution,
    science: ScienceImage | PlaneSource,
    templates: Sequence[TemplateImage | PlaneSource],
    *,
    box: tuple[slice, slice],
    threads: int = 2,
    planes: PlanePool | None = None,
) -> DifferenceRegion: ...


def apply(
    solution: Solution,
    science: ScienceImage | PlaneSource,
    templates: Sequence[TemplateImage | PlaneSource],
    *,
    box: tuple[slice, slice] | None = None,
    threads: int = 2,
    planes: PlanePool | None = None,
) -> DifferenceImage | DifferenceRegion:
    """Make the difference image of a solution, or a part of it.

    No fit, no detection: what `residua.subtraction.solve.solve` found is put to the pixels. The
    result is the same, bit for bit, as that of the run which found the solution, in another
    process, with another number of threads and on another CPU (see ``docs/determinism.md``);
    that of a box is the same as the whole image's there.

    Parameters
    ----------
    solution
        From `residua.subtraction.solve.solve`, or kept since.
    science, templates
        The very images it was made from, the templates in the same order. For a box they need
        not be in memory: whatever can `PlaneSource.read` a rectangle will do.
    box
        ``numpy.s_[y0:y1, x0:x1]``, pixels of the science image; default the whole. About 60
        pixels around it are read, and 106 more on those sides on which a row or column of flagged
        pixels goes on.
    threads
        Threads to use; the result does not depend on it.
    planes
        Buffers to reuse, as for `residua.subtraction.subtract.subtract`; not for a box.

    Returns
    -------
    DifferenceImage or DifferenceRegion
        The latter for a box.

    Raises
    ------
    UnknownArithmeticError
        If the solution belongs to pixel passes of another version.
    StaleSolutionError
        If an input is not the one of the solution; for a box, where only its size and number are
        looked at, it is the caller's part to know the files.
    BadImageError
        If the images' planes do not fit together.
    ValueError
        If the box does not lie in the image.
    """
    check_arithmetic(solution)
    if box is not None:
        return _apply_box(solution, science, templates, box, threads)
    # The overloads say so.
    assert isinstance(science, ScienceImage)
    images = [t for t in templates if isinstance(t, TemplateImage)]
    check_images(science, images)
    check_inputs(solution, science, images)
    window = whole(solution.shape)
    made = _apply_window(solution, window, None, science, images, planes, threads)
    return image_of(solution, science, made.image, made.variance, made.mask, made.matched_template)


def _apply_box(
    solution: Solution,
    science: ScienceImage | PlaneSource,
    templates: Sequence[TemplateImage | PlaneSource],
    box: tuple[slice, slice],
    threads: int,
) -> DifferenceRegion:
    check_sizes(solution, science, templates)
    y0, y1, x0, x1 = bounds(box, solution.shape)
    around = margin(solution)
    window = enclosing((y0, y1, x0, x1), around, solution.shape)
    needed = enclosing_exactly((y0, y1, x0, x1), around, window)
    made = _apply_window(solution, window, needed, science, templates, None, threads)
    inner = np.s_[y0 - window.y0 : y1 - window.y0, x0 - window.x0 : x1 - window.x0]
    return DifferenceRegion(
        np.ascontiguousarray(made.image[inner]),
        np.ascontiguousarray(made.variance[inner]),
        np.ascontiguousarray(made.mask[inner]),
        np.ascontiguousarray(made.matched_template[inner]),
        y0,
        x0,
    )


def _apply_window(
    solution: Solution,
    window: Window,
    needed: tuple[int, int, int, int] | None,
    science: ScienceImage | PlaneSource,
    templates: Sequence[TemplateImage | PlaneSource],
    planes: PlanePool | None,
    threads: int,
) -> DifferenceRegion:
    """All passes, one after the other; pixels near the border of a part are garbage."""
    convolved, kernel, filters = solution.convolved, solution.kernel, solution.filters
    loans = Loans(planes or PlanePool(), window.shape)
    frame = _frame(solution, window, science, templates, loans, threads)
    wider = window if needed is None else _wide_enough(solution, frame, needed)
    if wider != window:
        more = Loans(PlanePool(), wider.shape)
        frame = cut(_frame(solution, wider, science, templates, more, threads), window)
    matched = loans.float_plane("matched")
    good = mask_and_match(
        frame, kernel.applied, convolved,
        reach=kernel.reach, border=kernel.border, out=matched, pieces=kernel.pieces,
        threads=threads,
    )  # fmt: skip
    loans.give_back("science mask")
    difference = subtract_matched(
        frame.image, frame.template, matched, kernel.kernel, convolved,
        window=window, threads=threads, out=loans.float_plane("difference"),
    )  # fmt: skip
    loans.give_back("template mask")
    white = decorrelate(
        difference, good, frame.variance, frame.template_variance, filters,
        window=window, threads=threads,
        out_image=loans.float_plane("decorrelated"), out_variance=loans.float_plane("variance"),
    )  # fmt: skip
    template = preview(frame, matched, solution.quality.kernel_sum, convolved)
    mark_found(frame, good, solution.streaks, solution.footprints, solution.sharp)
    blank_missing(frame.merged, (white.image, white.variance, template), threads=threads)
    return DifferenceRegion(
        white.image, white.variance, frame.merged, template, window.y0, window.x0
    )


def _frame(
    solution: Solution,
    window: Window,
    science: ScienceImage | PlaneSource,
    templates: Sequence[TemplateImage | PlaneSource],
    loans: Loans,
    threads: int,
) -> Frame:
    """Both images, cleaned, on one grid, hits marked and pixels of wrong flux filled."""
    science_mask, merged = loans.mask_plane("science mask"), loans.mask_plane("mask")
    given = saturated(read_window(science, window.slices), solution.science)
    image, variance = clean_science(given, science_mask, part=True, threads=threads)
    template: tuple[FloatPlane, FloatPlane, MaskPlane] = (
        loans.float_plane("template"),
        loans.float_plane("template variance"),
        loans.mask_plane("template mask"),
    )
    plan = solution.warp_plan
    needed = [plan.needed(k, window) for k in range(len(templates))]
    sections = [
        None if at is None else section(saturated(read_window(t, at), use.input), at)
        for t, at, use in zip(templates, needed, solution.templates, strict=True)
    ]
    warp_planes(
        plan, sections, carried_bits(TEMPLATE_FLAGS), template, window=window, threads=threads
    )
    frame = Frame(window, image, variance, science_mask, *template, merged)
    merge_and_fill(frame, threads=threads)
    mark_hits(frame, (solution.sharpness, solution.template_sharpness), threads=threads)
    if solution.convolved == "science":
        filled = fill_science(frame, loans.float_plane("filled science"), threads=threads)
        frame = replace(frame, image=filled)
    return frame


def _wide_enough(solution: Solution, frame: Frame, needed: tuple[int, int, int, int]) -> Window:
    """Return the window in which all that matters can be filled, mostly the one there is."""
    window = frame.window
    rows, columns = window.slices
    (ny, nx), (all_y, all_x) = window.shape, window.image
    ends = (rows.start == 0, rows.stop == all_y, columns.start == 0, columns.stop == all_x)
    up, down, left, right = (0 if end else HITS for end in ends)
    whole_area = (up, ny - down, left, nx - right)
    # What a filled pixel is decides whether its neighbours are hits, and so on.
    area = needed if solution.template_sharpness is None else whole_area
    lacking = [undecided(frame.template_mask, WRONG_FLUX, area, ends, HITS)]
    if solution.convolved == "science":
        lacking.append(undecided(frame.science_mask, WRONG_FLUX, needed, ends, HITS))
    up, down, left, right = (FILL_REACH if any(s) else 0 for s in zip(*lacking, strict=True))
    return enclosing(
        (rows.start, rows.stop, columns.start, columns.stop),
        (up, down, left, right),
        window.image,
    )


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
