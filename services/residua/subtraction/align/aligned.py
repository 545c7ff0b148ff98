"""Templates that lie on the science image's pixels already: nothing to interpolate."""

from typing import Protocol

import numpy as np

from residua.subtraction.align.pixel_map import PixelMap
from residua.subtraction.images import FloatPlane, MaskPlane
from residua.subtraction.masks import MaskBit

__all__ = ["copy_aligned", "whole_pixel_shift"]


class Planes(Protocol):
    """Planes of one image."""

    @property
    def image(self) -> FloatPlane:
        """float32 (ny, nx)."""

    @property
    def variance(self) -> FloatPlane:
        """float32 (ny, nx)."""

    @property
    def mask(self) -> MaskPlane:
        """int32 (ny, nx)."""


_TOLERANCE = 1e-3
_NO_DATA = int(MaskBit.NO_DATA)


def whole_pixel_shift(pixel_map: PixelMap) -> tuple[int, int] | None:
    """Shift (x, y) in whole pixels that the map is, to a thousandth of a pixel; else `None`."""
    n_y, n_x = pixel_map.x.shape
    shift_x = pixel_map.x - np.arange(n_x) * float(pixel_map.step)
    shift_y = pixel_map.y - np.arange(n_y)[:, None] * float(pixel_map.step)
    if not (np.isfinite(shift_x).all() and np.isfinite(shift_y).all()):
        return None
    whole = float(np.rint(shift_x[0, 0])), float(np.rint(shift_y[0, 0]))
    if max(np.abs(shift_x - whole[0]).max(), np.abs(shift_y - whole[1]).max()) > _TOLERANCE:
        return None
    return int(whole[0]), int(whole[1])


def copy_aligned(
    template: Planes,
    shift: tuple[int, int],
    bits: int,
    out: tuple[FloatPlane, FloatPlane, MaskPlane],
) -> None:
    """Copy a template, with the meaning that the warp gives to its planes.

    Parameters
    ----------
    template
        The template, or a part of it that holds all that is wanted.
    shift
        From the pixels of ``out`` to those of ``template``.
    bits
        Mask planes to carry over.
    out
        Image, variance, mask of the science image's shape.
    """
    image, variance, mask = out
    image[:], variance[:], mask[:] = 0.0, 0.0, _NO_DATA
    ny, nx = image.shape
    x0, y0 = max(0, -shift[0]), max(0, -shift[1])
    x1 = min(nx, template.image.shape[1] - shift[0])
    y1 = min(ny, template.image.shape[0] - shift[1])
    if x1 <= x0 or y1 <= y0:
        return
    here = (slice(y0, y1), slice(x0, x1))
    there = (slice(y0 + shift[1], y1 + shift[1]), slice(x0 + shift[0], x1 + shift[0]))
    data, noise = template.image[there], template.variance[there]
    flags = template.mask[there].astype(np.int32) & np.int32(bits)
    bad = ~(np.isfinite(data) & np.isfinite(noise) & (noise > 0)) | ((flags & _NO_DATA) != 0)
    image[here] = np.where(bad, np.float32(0.0), data)
    variance[here] = np.where(bad, np.float32(0.0), noise)
    mask[here] = np.where(bad, flags | _NO_DATA, flags)
