"""Visit image minus template coadd: the whole chain, step by step.

Each step is a module of `residua.subtraction.steps`: one grid, roles, kernel, white difference,
findings, quality record. The passes over pixels between their global parts are those of
`residua.subtraction.steps.passes`, which `residua.subtraction.steps.apply` repeats. Whatever a
pass takes from a global step is brought to its kept form first, so that the image is the image of
the solution.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from residua.subtraction.config import SubtractionConfig
from residua.subtraction.engine.buffers import Loans, PlanePool
from residua.subtraction.engine.runs import bit_runs
from residua.subtraction.errors import numerical_steps
from residua.subtraction.images import DifferenceImage, MaskPlane, ScienceImage, TemplateImage
from residua.subtraction.masks import MaskBit
from residua.subtraction.match.difference import blank_missing
from residua.subtraction.pixels.prepare import check_images
from residua.subtraction.steps.apply import image_of
from residua.subtraction.steps.findings import detect_and_measure
from residua.subtraction.steps.kept import kept_detections
from residua.subtraction.steps.one_grid import bring_to_one_grid
from residua.subtraction.steps.quality_record import quality_record
from residua.subtraction.steps.roles import choose_roles
from residua.subtraction.steps.solution import ARITHMETIC, Solution
from residua.subtraction.steps.white_difference import find_kernel, subtract_and_whiten

__all__ = ["solve", "solve_and_apply"]


def solve(
    science: ScienceImage,
    templates: Sequence[TemplateImage],
    config: SubtractionConfig | None = None,
    *,
    threads: int = 2,
    planes: PlanePool | None = None,
) -> Solution:
    """Find all that is global about a subtraction: what `apply` needs to make any of its pixels.

    Parameters, errors as for `residua.subtraction.subtract.subtract`, since the image is made on
    the way: a solution is judged by its image. Who wants both calls `solve_and_apply`.

    Returns
    -------
    Solution
        See `residua.subtraction.steps.solution`; 0.08 to 0.16 MB when it is written.
    """
    return solve_and_apply(science, templates, config, threads=threads, planes=planes)[0]


def solve_and_apply(
    science: ScienceImage,
    templates: Sequence[TemplateImage],
    config: SubtractionConfig | None = None,
    *,
    threads: int = 2,
    planes: PlanePool | None = None,
) -> tuple[Solution, DifferenceImage]:
    """Solve, and make the image of the solution in the same pass.

    Parameters, errors as for `residua.subtraction.subtract.subtract`.

    Returns
    -------
    solution, difference
        ``apply(solution, science, templates)`` makes the same image again, bit for bit.
    """
    config = config or SubtractionConfig()
    # One BLAS thread: more would change the order of sums, and thrash on small matrices.
    with (
        threadpool_limits(limits=1, user_api="blas"),
        numerical_steps("the subtraction", pixels=science.image.size, templates=len(templates)),
    ):
        return _solve(science, templates, config, threads, planes or PlanePool())


def _solve(
    given: ScienceImage,
    patches: Sequence[TemplateImage],
    config: SubtractionConfig,
    threads: int,
    planes: PlanePool,
) -> tuple[Solution, DifferenceImage]:
    check_images(given, patches)
    shape = (given.image.shape[0], given.image.shape[1])
    loans = Loans(planes, shape)
    # The template on the science image's pixels, where its stars lie under the image's own.
    grid = bring_to_one_grid(given, patches, config, loans, threads=threads)
    # The two PSFs say which image is sharper and how large the kernel must be.
    roles = choose_roles(grid, config, loans, threads=threads)
    # The kernel, from stamps of stars.
    match = find_kernel(grid, roles, config, threads=threads)
    # Subtract; masked pixels are kept out of everything that follows.
    difference = subtract_and_whiten(grid, roles, match, config, loans, threads=threads)
    # Detect, and judge how far it can be trusted.
    found = detect_and_measure(grid, roles, match.fit, difference, config, loans, threads=threads)
    record = quality_record(grid, roles, match.fit, difference, found)

    mask, white = roles.frame.merged, difference.whitened.white
    blank_missing(mask, (white.image, white.variance, found.shown), threads=threads)
    solution = Solution(
        arithmetic=ARITHMETIC,
        config=config,
        shape=shape,
        unit=grid.science.unit,
        convolved=roles.convolved,
        science=grid.science_use,
        templates=grid.template_uses,
        sharpness=roles.sharpness,
        template_sharpness=roles.template_sharpness,
        kernel=difference.kernel,
        filters=difference.whitened.filters,
        science_psf=roles.science_psf.psf,
        streaks=found.streaks,
        footprints=_footprints(mask),
        sharp=np.column_stack([found.sharp.x, found.sharp.y]).astype(np.int32),
        detections=kept_detections(found.detections),
        quality=record,
    )
    made = image_of(solution, grid.science, white.image, white.variance, mask, found.shown)
    return solution, made


def _footprints(mask: MaskPlane) -> npt.NDArray[np.int32]:
    """Find the runs of detected pixels: row, first and last column, sign."""
    runs = [
        np.insert(bit_runs(mask, int(bit)), 3, sign, axis=1)
        for sign, bit in ((1, MaskBit.DETECTED), (-1, MaskBit.DETECTED_NEGATIVE))
    ]
    return np.concatenate(runs).astype(np.int32)
