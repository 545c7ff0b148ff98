"""The warped template, refused when it covers too little of the detector."""

from collections.abc import Sequence

import numpy as np

from residua.subtraction.align.pixel_map import PixelMap
from residua.subtraction.align.warp import WarpedTemplate, warp_templates
from residua.subtraction.config import SubtractionConfig
from residua.subtraction.errors import InsufficientCoverageError
from residua.subtraction.images import FloatPlane, MaskPlane, ScienceImage, TemplateImage
from residua.subtraction.masks import MaskBit
from residua.subtraction.pixels.difference_mask import TEMPLATE_FLAGS

__all__ = ["warp_covering"]

_NO_DATA = int(MaskBit.NO_DATA)


def warp_covering(
    science: ScienceImage,
    templates: Sequence[TemplateImage],
    science_mask: MaskPlane,
    pixel_maps: Sequence[PixelMap],
    out: tuple[FloatPlane, FloatPlane, MaskPlane],
    config: SubtractionConfig,
    threads: int,
) -> tuple[WarpedTemplate, float]:
    """Warp the templates; check the coverage of the science image's usable pixels.

    Parameters
    ----------
    science, templates
        The images.
    science_mask
        int32 (ny, nx), cleaned.
    pixel_maps
        From the science image's pixels to each patch's.
    out
        Image, variance and mask to write into.
    config
        Least coverage.
    threads
        Threads to use.

    Returns
    -------
    warped, coverage
        The template and the fraction of the usable science pixels that it covers.

    Raises
    ------
    InsufficientCoverageError
        If there is no template or it covers too little.
    """
    if not templates:
        raise InsufficientCoverageError(
            "no template covers this detector", coverage=0.0, minimum=config.minimum_coverage
        )
    shape = (science_mask.shape[0], science_mask.shape[1])
    warped = warp_templates(
        templates, science.wcs, shape,
        planes=TEMPLATE_FLAGS, pixel_maps=pixel_maps, threads=threads, out=out,
    )  # fmt: skip
    usable, covered = 0, 0
    for first in range(0, shape[0], 64):
        rows = slice(first, first + 64)
        usable_here = (science_mask[rows] & _NO_DATA) == 0
        usable += int(np.count_nonzero(usable_here))
        covered += int(np.count_nonzero(usable_here & ((warped.mask[rows] & _NO_DATA) == 0)))
    coverage = covered / max(usable, 1)
    if coverage < config.minimum_coverage:
        raise InsufficientCoverageError(
            f"templates cover {coverage:.1%} of the detector's usable pixels; "
            f"{config.minimum_coverage:.1%} are needed",
            coverage=coverage,
            minimum=config.minimum_coverage,
        )
    return warped, coverage
