"""Visit image minus template coadd, in one call."""

from collections.abc import Sequence

from residua.subtraction.config import SubtractionConfig
from residua.subtraction.engine.buffers import PlanePool
from residua.subtraction.images import DifferenceImage, ScienceImage, TemplateImage
from residua.subtraction.solve import solve_and_apply

__all__ = ["subtract"]


def subtract(
    science: ScienceImage,
    templates: Sequence[TemplateImage],
    config: SubtractionConfig | None = None,
    *,
    threads: int = 2,
    planes: PlanePool | None = None,
) -> DifferenceImage:
    """Subtract PSF-matched template coadds from a visit image.

    Warp, match (Alard & Lupton 1998), subtract, decorrelate (DMTN-021), mask, detect and
    measure the quality. The result does not depend on ``threads``. It is the image of a solution:
    `residua.subtraction.solve.solve_and_apply` returns that too, and
    `residua.subtraction.steps.apply.apply` makes the image of it again.

    Parameters
    ----------
    science
        One detector of one visit, background-subtracted.
    templates
        Template patches, in the science image's unit, on any WCS. Patches that do not overlap
        the image do no harm.
    config
        Choices; default `SubtractionConfig()`.
    threads
        Threads to use.
    planes
        Buffers to reuse: saves a third of the time of a worker that subtracts one detector
        after another. The planes of the result then belong to the pool and are overwritten
        by the next subtraction that uses it.

    Returns
    -------
    DifferenceImage

    Raises
    ------
    BadImageError
        If the images' planes or units do not fit together or hold no usable pixel.
    InsufficientCoverageError
        If the templates cover less of the detector than ``config.minimum_coverage``.
    InsufficientKernelStarsError
        If there are too few stars for the PSF or for the matching kernel.
    BadSubtractionError
        If the quality record is outside ``config.limits``.
    NumericalError
        If the images drive a step out of its domain.
    """
    return solve_and_apply(science, templates, config, threads=threads, planes=planes)[1]
