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

from residua.subtraction.align.aligned import copy_aligned, whole_pixel_shift
from residua.subtraction.align.pixel_map import PixelMap, make_pixel_map
from residua.subtraction.align.warp_kernel import TILE, warp_tiles
from residua.subtraction.align.warp_plan import (
    central_jacobian,
    plan_patch,
    scratch_extent,
    warped_noise_covariance,
)
from residua.subtraction.engine.nodes import node_positions
from residua.subtraction.engine.threads import STRIP_ROWS, run_beside, run_strips
from residua.subtraction.images import FloatPlane, MaskPlane, TemplateImage
from residua.subtraction.masks import MaskBit

__all__ = ["TEMPLATE_PLANES", "WarpedTemplate", "warp_templates"]

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
    ny, nx = shape
    if pixel_maps is None:
        pixel_maps = [make_pixel_map(science_wcs, t.wcs, shape) for t in templates]
    if out is None:
        out = (
            np.empty(shape, np.float32),
            np.empty(shape, np.float32),
            np.empty(shape, np.int32),
        )
    image, variance, mask = out
    bits = int(planes) & 0x7FFFFFFF | int(MaskBit.NO_DATA)
    whole = whole_pixel_shift(pixel_maps[0]) if len(templates) == 1 else None
    if whole is not None:
        copy_aligned(templates[0], whole, bits, out)
        covered = np.count_nonzero((mask & int(MaskBit.NO_DATA)) == 0) / mask.size
        white = np.zeros((len(node_positions(shape)[0]) * len(node_positions(shape)[1]), 3, 3))
        white[:, 1, 1] = 1.0
        return WarpedTemplate(image, variance, mask, white, np.eye(2), float(covered))
    patches = [plan_patch(t, m, shape) for t, m in zip(templates, pixel_maps, strict=True)]
    best = np.argmax(
        [np.where(p.overlaps, p.nearest + 1e-3 * p.farthest, -np.inf) for p in patches], axis=0
    )
    shared = np.sum([p.overlaps for p in patches], axis=0) > 1
    patches_used = [p for p in patches if p.overlaps.any()]
    scratch_shape = tuple(
        max((int(scratch_extent(p, axis)) for p in patches_used), default=0) for axis in (0, 1)
    )
    n_good = np.zeros(-(-ny // STRIP_ROWS), np.int64)

    def strip(first: int, end: int) -> None:
        row = first // TILE
        fresh = np.ones(best.shape[1], np.bool_)
        distance = np.full((TILE, nx), -1.0e30, np.float32)
        scratch = (
            np.zeros(scratch_shape, np.float32),
            np.zeros(scratch_shape, np.float32),
            np.zeros(scratch_shape, np.int32),
        )
        complete = np.zeros(best.shape[1], np.bool_)
        border = np.zeros(best.shape[1])
        for rank in (0, 1):
            for number, patch in enumerate(patches):
                wanted = patch.overlaps[row] & ((best[row] == number) == (rank == 0))
                if rank == 1:
                    wanted &= ~(complete & (border >= patch.farthest[row]))
                if not wanted.any():
                    continue
                whole = warp_tiles(
                    (patch.image, patch.variance, patch.mask),
                    (patch.pixel_map.x, patch.pixel_map.y, patch.areas),
                    patch.pixel_map.step,
                    row,
                    wanted,
                    shared[row],
                    fresh,
                    patch.boxes[row],
                    bits,
                    scratch,
                    distance,
                    (image[first:end], variance[first:end], mask[first:end]),
                )
                if rank == 0:
                    complete |= whole
                    border = np.where(whole, patch.nearest[row], border)
        for tile in np.flatnonzero(fresh):
            columns = slice(tile * TILE, (tile + 1) * TILE)
            image[first:end, columns] = 0.0
            variance[first:end, columns] = 0.0
            mask[first:end, columns] = int(MaskBit.NO_DATA)
        n_good[row] = np.count_nonzero((mask[first:end] & int(MaskBit.NO_DATA)) == 0)

    jacobian = central_jacobian(patches, shape)
    covariance = run_beside(
        lambda: warped_noise_covariance(patches, best, jacobian, shape), threads=threads
    )
    run_strips(strip, ny, strip_rows=TILE, threads=threads)
    return WarpedTemplate(
        image,
        variance,
        mask,
        covariance(),
        jacobian,
        float(n_good.sum() / (ny * nx)),
    )
