"""Warp template patches onto the pixel grid of the science image (Lanczos-3).

Work goes in tiles of 64 x 64 science pixels: the part of the template behind a tile is
copied into a small scratch plane (garbage replaced, mask planes summed up on the way), so
the interpolation itself needs no check at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from astropy.wcs.wcsapi import BaseLowLevelWCS

from residua.subtraction.align.aligned import copy_aligned
from residua.subtraction.align.pixel_map import PixelMap, make_pixel_map
from residua.subtraction.align.warp_kernel import TILE, warp_tiles
from residua.subtraction.align.warp_plan import (
    WarpPlan,
    central_jacobian,
    plan_warp,
    scratch_extent,
    warped_noise_covariance,
)
from residua.subtraction.engine.nodes import node_positions
from residua.subtraction.engine.threads import run_beside, run_strips
from residua.subtraction.engine.window import Window, whole
from residua.subtraction.images import FloatPlane, MaskPlane, TemplateImage
from residua.subtraction.masks import MaskBit

__all__ = [
    "TEMPLATE_PLANES",
    "Section",
    "WarpedTemplate",
    "carried_bits",
    "warp_planes",
    "warp_templates",
    "whole_section",
]

TEMPLATE_PLANES = ~(
    MaskBit.DETECTED
    | MaskBit.DETECTED_NEGATIVE
    | MaskBit.NOT_DEBLENDED
    | MaskBit.CLIPPED
    | MaskBit.REJECTED
    | MaskBit.INEXACT_PSF
    | MaskBit.SENSOR_EDGE
)
"""Planes of a template that say something about the difference."""


@dataclass(frozen=True)
class WarpedTemplate:
    """Template on the science image's grid.

    Parameters
    ----------
    image
        float32 (ny, nx), flux per *science* pixel, unit of the template; 0 where there are
        no data.
    variance
        float32 (ny, nx): ``VT = V_Tw / A``, the variance that the template's pixels have,
        not that of the smoother warped image (``A`` is the sum of the squared weights;
        ``noise_covariance`` holds the rest); 0
        where there are no data.
    mask
        int32 (ny, nx): OR of the template's planes over the 6 x 6 contributing pixels;
        ``NO_DATA`` where any of them is missing, flagged so, or not finite.
    noise_covariance
        float64 (n_nodes, size, size): autocovariance that the warp makes of white noise of
        variance 1, by lag in science pixels, at the nodes of
        `residua.subtraction.engine.nodes.node_positions`.
    jacobian
        float64 (2, 2): d(template x, y) / d(science x, y) near the detector's centre.
    coverage
        Fraction of the pixels with data.
    """

    image: FloatPlane
    variance: FloatPlane
    mask: MaskPlane
    noise_covariance: npt.NDArray[np.float64]
    jacobian: npt.NDArray[np.float64]
    coverage: float


def warp_templates(
    templates: Sequence[TemplateImage],
    science_wcs: BaseLowLevelWCS,
    shape: tuple[int, int],
    *,
    planes: int = TEMPLATE_PLANES,
    pixel_maps: Sequence[PixelMap] | None = None,
    threads: int = 1,
    out: tuple[FloatPlane, FloatPlane, MaskPlane] | None = None,
) -> WarpedTemplate:
    """Warp template patches onto a science image's pixel grid.

    Where patches overlap, each pixel comes from the one whose border is farthest away and
    that has data there. Averages would be wrong for the usual case, patches of one tract that
    repeat the same pixels: their noise is the same noise, so the variance of the mean is not
    smaller. Selection keeps the variance right in either case.

    Parameters
    ----------
    templates
        Patches; all in one unit. Masked pixels are interpolated like others, but pixels that
        are NaN, infinite, of variance not above 0, or ``NO_DATA`` give ``NO_DATA``.
    science_wcs
        WCS of the science image, same frame as the templates'.
    shape
        (ny, nx) of the science image.
    planes
        Mask planes to carry over.
    pixel_maps
        From the science image's pixels to each patch's, when they are known already (and
        perhaps registered).
    threads
        Threads to use; the result does not depend on it.
    out
        Planes to write into: image, variance, mask.

    Returns
    -------
    WarpedTemplate
        Flux is conserved: values are multiplied by the local pixel area ratio.

    Raises
    ------
    ValueError
        If there is no template.
    """
    if not templates:
        raise ValueError("warp_templates needs at least one template patch")
    if pixel_maps is None:
        pixel_maps = [make_pixel_map(science_wcs, t.wcs, shape) for t in templates]
    if out is None:
        out = (
            np.empty(shape, np.float32),
            np.empty(shape, np.float32),
            np.empty(shape, np.int32),
        )
    image, variance, mask = out
    bits = carried_bits(planes)
    plan = plan_warp([_size(t) for t in templates], pixel_maps, shape)
    sections = [whole_section(t) for t in templates]
    if plan.shift is not None:
        coverage = warp_planes(plan, sections, bits, out, threads=threads)
        white = np.zeros((len(node_positions(shape)[0]) * len(node_positions(shape)[1]), 3, 3))
        white[:, 1, 1] = 1.0
        return WarpedTemplate(image, variance, mask, white, np.eye(2), coverage)
    jacobian = central_jacobian(plan.patches, shape)
    covariance = run_beside(
        lambda: warped_noise_covariance(plan.patches, plan.best, jacobian, shape), threads=threads
    )
    coverage = warp_planes(plan, sections, bits, out, threads=threads)
    return WarpedTemplate(image, variance, mask, covariance(), jacobian, coverage)


def _size(template: TemplateImage) -> tuple[int, int]:
    return template.image.shape[0], template.image.shape[1]


def carried_bits(planes: int) -> int:
    """Mask planes that the warp carries over, ``NO_DATA`` always among them."""
    return int(planes) & 0x7FFFFFFF | int(MaskBit.NO_DATA)


@dataclass(frozen=True)
class Section:
    """A rectangle of a template's planes.

    Parameters
    ----------
    image, variance, mask
        float32, float32, int32 (ny, nx).
    y0, x0
        Pixel of the template at which they begin.
    """

    image: FloatPlane
    variance: FloatPlane
    mask: MaskPlane
    y0: int = 0
    x0: int = 0


def whole_section(template: TemplateImage) -> Section:
    """Return all of a template."""
    return Section(
        np.ascontiguousarray(template.image, dtype=np.float32),
        np.ascontiguousarray(template.variance, dtype=np.float32),
        np.ascontiguousarray(template.mask, dtype=np.int32),
    )


def warp_planes(
    plan: WarpPlan,
    sections: Sequence[Section | None],
    bits: int,
    out: tuple[FloatPlane, FloatPlane, MaskPlane],
    *,
    window: Window | None = None,
    threads: int = 1,
) -> float:
    """Warp as planned.

    Parameters
    ----------
    plan
        From `plan_warp`.
    sections
        Of each patch, at least what the window's tiles need; `None` where they need nothing.
    bits
        Mask planes to carry over, from `carried_bits`.
    out
        Planes of the window to write into: image, variance, mask.
    window
        Default the whole science image.
    threads
        Threads to use; the result does not depend on it.

    Returns
    -------
    float
        Fraction of the pixels with data.
    """
    window = window or whole(plan.shape)
    image, variance, mask = out
    no_data = int(MaskBit.NO_DATA)
    ny, nx = window.shape
    if plan.shift is not None:
        section = sections[0]
        origin = (plan.shift[0] + window.x0, plan.shift[1] + window.y0)
        if section is None:
            image[:], variance[:], mask[:] = 0.0, 0.0, no_data
            return 0.0
        copy_aligned(section, (origin[0] - section.x0, origin[1] - section.y0), bits, out)
        return float(np.count_nonzero((mask & no_data) == 0) / mask.size)
    tiles = slice(window.x0 // TILE, -(-(window.x0 + nx) // TILE))
    n_tiles = tiles.stop - tiles.start
    used = [p for p, s in zip(plan.patches, sections, strict=True) if s and p.overlaps.any()]
    scratch_shape = tuple(
        max((int(scratch_extent(p, axis)) for p in used), default=0) for axis in (0, 1)
    )
    n_good = np.zeros(-(-ny // TILE), np.int64)

    def strip(first: int, end: int) -> None:
        row = (window.y0 + first) // TILE
        fresh = np.ones(n_tiles, np.bool_)
        distance = np.full((TILE, nx), -1.0e30, np.float32)
        scratch = (
            np.zeros(scratch_shape, np.float32),
            np.zeros(scratch_shape, np.float32),
            np.zeros(scratch_shape, np.int32),
        )
        complete = np.zeros(n_tiles, np.bool_)
        border = np.zeros(n_tiles)
        for rank in (0, 1):
            for number, (patch, section) in enumerate(zip(plan.patches, sections, strict=True)):
                first_choice = plan.best[row, tiles] == number
                wanted = patch.overlaps[row, tiles] & (first_choice == (rank == 0))
                if rank == 1:
                    wanted &= ~(complete & (border >= patch.farthest[row, tiles]))
                if not wanted.any():
                    continue
                assert section is not None
                nodes = slice(
                    tiles.start * (TILE // patch.pixel_map.step),
                    tiles.stop * (TILE // patch.pixel_map.step) + 1,
                )
                done = warp_tiles(
                    (section.image, section.variance, section.mask),
                    (section.y0, section.x0, *patch.shape),
                    (
                        np.ascontiguousarray(patch.pixel_map.x[:, nodes]),
                        np.ascontiguousarray(patch.pixel_map.y[:, nodes]),
                        np.ascontiguousarray(patch.areas[:, nodes]),
                    ),
                    patch.pixel_map.step,
                    row,
                    wanted,
                    plan.shared[row, tiles],
                    fresh,
                    np.ascontiguousarray(patch.boxes[row, tiles]),
                    bits,
                    scratch,
                    distance,
                    (image[first:end], variance[first:end], mask[first:end]),
                )
                if rank == 0:
                    complete |= done
                    border = np.where(done, patch.nearest[row, tiles], border)
        for tile in np.flatnonzero(fresh):
            columns = slice(tile * TILE, (tile + 1) * TILE)
            image[first:end, columns] = 0.0
            variance[first:end, columns] = 0.0
            mask[first:end, columns] = no_data
        n_good[first // TILE] = np.count_nonzero((mask[first:end] & no_data) == 0)

    run_strips(strip, ny, strip_rows=TILE, threads=threads)
    return float(n_good.sum() / (ny * nx))
