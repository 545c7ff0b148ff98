"""Where a template's pieces lie: patches, and what seams in their masks part.

A coadd's PSF jumps where an input begins or ends, and between patches made of other inputs. Coadds
flag the first kind of place as ``SENSOR_EDGE`` or ``INEXACT_PSF``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from residua.subtraction.align.pixel_map import PixelMap
from residua.subtraction.images import MaskPlane, TemplateImage
from residua.subtraction.masks import MaskBit

__all__ = ["PieceMap", "piece_map"]

type Labels = npt.NDArray[np.uint8]

_SEAMS = int(MaskBit.INEXACT_PSF | MaskBit.SENSOR_EDGE)
_NO_DATA = int(MaskBit.NO_DATA)
_LEAST_AREA = 100 * 100
_MOST = 24
"""Of one patch, the largest; a coadd with more seams than that is no patchwork of a few PSFs."""
_STRIP = 64
_FROM_BORDER = 3


@dataclass(frozen=True)
class _Patch:
    """A patch's data and pieces, on its own pixels."""

    shape: tuple[int, int]
    mask: MaskPlane
    labels: Labels | None
    """Numbers from 1 of the pieces within the patch; `None` for one piece."""
    pixel_map: PixelMap
    first: int
    """Added to the numbers, or the number itself."""


@dataclass(frozen=True)
class PieceMap:
    """Which piece each pixel of the science image comes from.

    Parameters
    ----------
    shape
        (ny, nx) of the science image.
    patches
        The template's patches.
    count
        Pieces in all: numbers run from 1 to this; 0 is no piece.
    """

    shape: tuple[int, int]
    patches: tuple[_Patch, ...]
    count: int

    def at(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Labels:
        """Numbers of the pieces at positions, uint8 of their shape."""
        found = np.zeros(np.shape(x), np.uint8)
        farthest = np.full(found.shape, -1.0)
        for patch in self.patches:
            _choose(patch, *patch.pixel_map.positions(x, y), found, farthest)
        return found

    def plane(self) -> Labels:
        """Numbers of the pieces of all pixels, uint8 (ny, nx)."""
        out = np.zeros(self.shape, np.uint8)
        for first in range(0, self.shape[0], _STRIP):
            rows = np.arange(first, min(first + _STRIP, self.shape[0]))
            farthest = np.full((rows.size, self.shape[1]), -1.0)
            for patch in self.patches:
                x, y = _positions(patch.pixel_map, rows, self.shape[1])
                _choose(patch, x, y, out[first : first + _STRIP], farthest)
        return out


def _positions(
    pixel_map: PixelMap, rows: npt.NDArray[np.int64], nx: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Positions in a patch of whole rows of the science image."""
    step = pixel_map.step
    columns = np.arange(nx, dtype=np.float64)
    nodes = np.arange(pixel_map.x.shape[1]) * float(step)
    x, y = np.empty((rows.size, nx)), np.empty((rows.size, nx))
    for k, row in enumerate(rows.tolist()):
        i = min(row // step, pixel_map.x.shape[0] - 2)
        part = (row - i * step) / step
        for grid, out in ((pixel_map.x, x), (pixel_map.y, y)):
            out[k] = np.interp(columns, nodes, grid[i] + part * (grid[i + 1] - grid[i]))
    return x, y


def _choose(
    patch: _Patch,
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    found: Labels,
    farthest: npt.NDArray[np.float64],
) -> None:
    """Put the patch's numbers where it has data and its border is the farthest, as in the warp."""
    ny, nx = patch.shape
    border = np.minimum(np.minimum(x, nx - 1 - x), np.minimum(y, ny - 1 - y))
    inside = np.isfinite(border) & (border >= _FROM_BORDER) & (border > farthest)
    column = np.rint(x[inside]).astype(np.int64)
    row = np.rint(y[inside]).astype(np.int64)
    data = (patch.mask[row, column] & _NO_DATA) == 0
    inside[inside] = data
    if patch.labels is None:
        found[inside] = patch.first
    else:
        numbers = patch.labels[row[data], column[data]]
        found[inside] = np.where(numbers > 0, numbers + np.uint8(patch.first), np.uint8(0))
    farthest[inside] = border[inside]


def piece_map(
    templates: Sequence[TemplateImage], pixel_maps: Sequence[PixelMap], shape: tuple[int, int]
) -> PieceMap | None:
    """Find the pieces of a template.

    Parameters
    ----------
    templates
        Its patches; their masks tell seams.
    pixel_maps
        From the science image's pixels to each patch's.
    shape
        (ny, nx) of the science image.

    Returns
    -------
    PieceMap or None
        `None` where there is but one piece, or more than numbers.
    """
    patches, count = [], 0
    for template, pixel_map in zip(templates, pixel_maps, strict=True):
        ny, nx = template.mask.shape
        labels, n = _between_seams(template.mask)
        if labels is None:
            patches.append(_Patch((ny, nx), template.mask, None, pixel_map, count + 1))
        else:
            patches.append(_Patch((ny, nx), template.mask, labels, pixel_map, count))
        count += n
    if not 1 < count < np.iinfo(np.uint8).max:
        return None
    return PieceMap(shape, tuple(patches), count)


def _between_seams(mask: MaskPlane) -> tuple[Labels | None, int]:
    """Count and label what seams part; seams and small islands belong to the piece beside."""
    seams = (mask & np.int32(_SEAMS)) != 0
    if not seams.any():
        return None, 1
    connected, n = ndimage.label(~seams)
    areas = np.bincount(connected.ravel(), minlength=n + 1)
    areas[0] = 0
    large = [k for k in np.argsort(-areas, kind="stable")[:_MOST] if areas[k] >= _LEAST_AREA]
    if len(large) < 2:
        return None, 1
    numbers = np.zeros(n + 1, np.uint8)
    numbers[large] = np.arange(1, len(large) + 1)
    labels = numbers[connected]
    for turned in (labels.T, labels.T[::-1], labels, labels[::-1]):
        _carry_on(turned)
    return labels, len(large)


def _carry_on(labels: Labels) -> None:
    """Give pixels without a number that of the row before, in place."""
    for row in range(1, labels.shape[0]):
        empty = labels[row] == 0
        labels[row][empty] = labels[row - 1][empty]
