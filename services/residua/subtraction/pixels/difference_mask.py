"""The mask of the difference image: which input planes it inherits, and how far they reach."""

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.engine.filter_tables import VaryingKernel
from residua.subtraction.engine.threads import run_strips
from residua.subtraction.engine.window import Window, whole
from residua.subtraction.images import ConvolvedImage, FloatPlane, MaskPlane, MatchingKernel
from residua.subtraction.masks import UNUSABLE, MaskBit
from residua.subtraction.pixels.leak import flagged_pixels, mark_leak

__all__ = [
    "TEMPLATE_FLAGS",
    "WRONG_FLUX",
    "difference_mask",
    "good_pixels",
    "merge_masks",
    "reach_of_kernel",
]

TEMPLATE_FLAGS = int(
    MaskBit.BAD
    | MaskBit.SATURATED
    | MaskBit.DETECTION_EDGE
    | MaskBit.SUSPECT
    | MaskBit.NO_DATA
    | MaskBit.UNMASKED_NAN
    | MaskBit.HIGH_VARIANCE
    | MaskBit.STREAK
)
"""Planes of a template that matter: a coadd marks as interpolated or hit by a cosmic ray every
pixel in which one of its many visits was, although the coadded flux is sound."""

WRONG_FLUX = int(
    MaskBit.BAD
    | MaskBit.SATURATED
    | MaskBit.COSMIC_RAY
    | MaskBit.DETECTION_EDGE
    | MaskBit.NO_DATA
    | MaskBit.UNMASKED_NAN
)
"""Planes whose pixels do not hold the flux of the sky. An interpolated pixel does, about."""
_SATURATED = int(MaskBit.SATURATED)
_NO_DATA = int(MaskBit.NO_DATA)
_ENCLOSED = 0.99
_GROWTH_OF_FLAGS = 2


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _merge(
    science: npt.NDArray[np.int32],
    template: npt.NDArray[np.int32],
    saturated: np.int32,
    sat_template: np.int32,
    out: npt.NDArray[np.int32],
) -> None:
    for y in range(science.shape[0]):
        for x in range(science.shape[1]):
            t = template[y, x]
            if (t & saturated) != 0:
                t = (t & ~saturated) | sat_template
            out[y, x] = science[y, x] | t


def merge_masks(
    science: MaskPlane, template: MaskPlane, out: MaskPlane, *, threads: int = 1
) -> None:
    """Write the union of both masks to ``out``; saturated in the template: ``SAT_TEMPLATE``."""

    def strip(first: int, end: int) -> None:
        _merge(
            science[first:end], template[first:end], np.int32(_SATURATED),
            np.int32(MaskBit.SAT_TEMPLATE), out[first:end],
        )  # fmt: skip

    run_strips(strip, science.shape[0], threads=threads)


def reach_of_kernel(kernel: MatchingKernel) -> int:
    """Radius in pixels that holds 99 % of the kernel's absolute value, at the centre."""
    ny, nx = kernel.polynomial.shape
    stamp = np.abs(kernel.stamp((nx - 1) / 2, (ny - 1) / 2))
    half = stamp.shape[0] // 2
    offset = np.arange(-half, half + 1)
    radius = np.hypot(offset, offset[:, None])
    for reach in range(half):
        if stamp[radius <= reach + 0.5].sum() >= _ENCLOSED * stamp.sum():
            return reach
    return half


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _grow(
    source: npt.NDArray[np.int32],
    bits: np.int32,
    rows: npt.NDArray[np.int32],
    columns: npt.NDArray[np.int32],
    radius: int,
    add: np.int32,
    out: npt.NDArray[np.int32],
) -> None:
    """Set ``add`` within a radius of the pixels with any of ``bits``; growth starts at borders."""
    ny, nx = source.shape
    for n in range(rows.size):
        y, x = rows[n], columns[n]
        inside = (
            0 < y < ny - 1
            and 0 < x < nx - 1
            and (source[y - 1, x] & bits) != 0
            and (source[y + 1, x] & bits) != 0
            and (source[y, x - 1] & bits) != 0
            and (source[y, x + 1] & bits) != 0
        )
        if inside:
            continue
        for b in range(max(y - radius, 0), min(y + radius + 1, ny)):
            for a in range(max(x - radius, 0), min(x + radius + 1, nx)):
                if (b - y) ** 2 + (a - x) ** 2 <= radius * radius:
                    out[b, a] |= add


def _grown(source: MaskPlane, bits: int, radius: int, add: int, out: MaskPlane) -> None:
    rows, columns = flagged_pixels(source, np.int32(bits))
    _grow(source, np.int32(bits), rows, columns, radius, np.int32(add), out)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _without(mask: npt.NDArray[np.int32], bits: np.int32, out: npt.NDArray[np.bool_]) -> None:
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            out[y, x] = (mask[y, x] & bits) == 0


def good_pixels(mask: MaskPlane, *, threads: int = 1) -> npt.NDArray[np.bool_]:
    """Bool (ny, nx): pixels without any unusable plane."""
    out = np.empty(mask.shape, np.bool_)

    def strip(first: int, end: int) -> None:
        _without(mask[first:end], np.int32(UNUSABLE), out[first:end])

    run_strips(strip, mask.shape[0], threads=threads)
    return out


def difference_mask(
    merged: MaskPlane,
    science: tuple[FloatPlane, FloatPlane, MaskPlane],
    template: tuple[FloatPlane, MaskPlane],
    kernel: VaryingKernel,
    convolved: ConvolvedImage,
    *,
    reach: int,
    border: int,
    window: Window | None = None,
    threads: int = 1,
) -> MaskPlane:
    """Mask of the difference image.

    - the union of the science image's and the template's planes;
    - pixels of wrong flux in the image that was convolved (filled before by
      `residua.subtraction.pixels.infill`) grown by 2 px, and ``SAT_TEMPLATE`` (or
      ``BAD`` when the science image was convolved) where the kernel carries their wrong flux
      beyond the noise (`residua.subtraction.pixels.leak`);
    - ``NO_DATA`` of the convolved image grown, as ``DETECTION_EDGE``, by the radius that holds
      99 % of the kernel;
    - ``DETECTION_EDGE`` on the border, as wide as the kernel or as given.

    Parameters
    ----------
    merged
        int32 (ny, nx) from `merge_masks`; changed in place and returned.
    science
        Image, variance and mask of the science image.
    template
        Image and mask of the warped template.
    kernel
        The matching kernel.
    convolved
        Which image the kernel convolves.
    reach
        From `reach_of_kernel`.
    border
        Width of the border, pixels.
    window
        Which part of the kernel's image the planes are; default the whole.
    threads
        Threads to use; the result does not depend on it.
    """
    science_image, science_variance, science_mask = science
    template_image, template_mask = template
    if convolved == "template":
        image, mask, leaked = template_image, template_mask, int(MaskBit.SAT_TEMPLATE)
    else:
        image, mask, leaked = science_image, science_mask, int(MaskBit.BAD)
    mark_leak(
        image, mask, WRONG_FLUX, kernel, science_variance, merged, leaked,
        convolved=convolved, window=window, threads=threads,
    )  # fmt: skip
    _grown(mask, WRONG_FLUX, _GROWTH_OF_FLAGS, leaked, merged)
    edge = int(MaskBit.DETECTION_EDGE)
    _grown(mask, _NO_DATA, reach, edge, merged)
    window = window or whole((mask.shape[0], mask.shape[1]))
    ny, nx = window.image
    y, x = np.arange(ny)[window.slices[0]], np.arange(nx)[window.slices[1]]
    merged[(y < border) | (y >= ny - border)] |= edge
    merged[:, (x < border) | (x >= nx - border)] |= edge
    return merged
