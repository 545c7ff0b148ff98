"""Parts of images: what is read for a box, how far around it, and how it is cut out again."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from residua.subtraction.align.warp import Section
from residua.subtraction.engine.window import ALIGNMENT, Window
from residua.subtraction.images import FloatPlane, MaskPlane, ScienceImage, TemplateImage
from residua.subtraction.pixels.saturation import flag_above
from residua.subtraction.steps.passes import Frame
from residua.subtraction.steps.solution import InputUse, Solution

__all__ = [
    "FILL_REACH",
    "HITS",
    "DifferenceRegion",
    "PlaneSource",
    "Planes",
    "bounds",
    "cut",
    "enclosing",
    "enclosing_exactly",
    "margin",
    "read_window",
    "saturated",
    "section",
    "shape_of",
]

FILL_REACH = 106
"""Most pixels around that may decide what a flagged pixel is filled with: 100, two to average, and
the neighbours that make a cosmic ray one."""
HITS = 4
"""Pixels around one that decide whether it is a cosmic ray."""


class Planes(Protocol):
    """Planes of a rectangle of an image."""

    @property
    def image(self) -> FloatPlane:
        """float32 (ny, nx)."""

    @property
    def variance(self) -> FloatPlane:
        """float32 (ny, nx)."""

    @property
    def mask(self) -> MaskPlane:
        """int32 (ny, nx)."""


class PlaneSource(Protocol):
    """An image of which rectangles can be read."""

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx) of the whole image."""

    def read(self, box: tuple[slice, slice], /) -> Planes:
        """Read ``numpy.s_[y0:y1, x0:x1]``, which lies in the image, as the whole would be read."""


@dataclass(frozen=True)
class DifferenceRegion:
    """A rectangle of a difference image.

    Parameters
    ----------
    image, variance, mask, matched_template
        As in `residua.subtraction.images.DifferenceImage`.
    y0, x0
        Pixel of the whole image at which it begins.
    """

    image: FloatPlane
    variance: FloatPlane
    mask: MaskPlane
    matched_template: FloatPlane
    y0: int
    x0: int


def shape_of(source: ScienceImage | TemplateImage | PlaneSource) -> tuple[int, int]:
    """(ny, nx) of an image."""
    if isinstance(source, ScienceImage | TemplateImage):
        ny, nx = source.image.shape
        return ny, nx
    return source.shape


def read_window(
    source: ScienceImage | TemplateImage | PlaneSource, box: tuple[slice, slice]
) -> ScienceImage:
    """Read a rectangle as an image without a frame."""
    if isinstance(source, ScienceImage | TemplateImage):
        planes = source.image[box], source.variance[box], source.mask[box]
    else:
        found = source.read(box)
        planes = found.image, found.variance, found.mask
    return ScienceImage(*planes, wcs=None)


def saturated(image: ScienceImage, use: InputUse) -> ScienceImage:
    """Flag the pixels beyond the level that was found in the whole image."""
    if use.saturation is None:
        return image
    pixels = np.ascontiguousarray(image.image, np.float32)
    return replace(image, mask=flag_above(pixels, image.mask, use.saturation))


def section(image: ScienceImage, box: tuple[slice, slice]) -> Section:
    """Make a part of a template ready for the warp."""
    return Section(
        np.ascontiguousarray(image.image, dtype=np.float32),
        np.ascontiguousarray(image.variance, dtype=np.float32),
        np.ascontiguousarray(image.mask, dtype=np.int32),
        box[0].start,
        box[1].start,
    )


def bounds(box: tuple[slice, slice], shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """First row, end row, first column, end column.

    Raises
    ------
    ValueError
        If the box is empty, has steps or leaves the image.
    """
    found: list[int] = []
    for piece, n in zip(box, shape, strict=True):
        start, stop = piece.start or 0, n if piece.stop is None else piece.stop
        if piece.step not in (None, 1) or not 0 <= start < stop <= n:
            raise ValueError(f"the box {box} does not lie in an image of {shape} pixels")
        found += [int(start), int(stop)]
    return found[0], found[1], found[2], found[3]


def margin(solution: Solution) -> int:
    """Pixels around a box that matter to it, but for what fills flagged ones."""
    filters, kernel = solution.filters, solution.kernel
    last = max(
        filters.psi.half_width,
        filters.science_square.half_width,
        filters.template_square.half_width,
    )
    growth = 3
    return last + max(kernel.applied.half_width, kernel.reach) + growth + HITS


def enclosing(
    box: tuple[int, int, int, int],
    around: int | tuple[int, int, int, int],
    shape: tuple[int, int],
) -> Window:
    """Aligned window around a box (first row, end row, first column, end column).

    ``around``: so many pixels on all sides, or above, below, to the left, to the right.
    """
    sides = (around,) * 4 if isinstance(around, int) else around
    corners: list[tuple[int, int]] = []
    for start, stop, n, before, after in (
        (*box[:2], shape[0], *sides[:2]),
        (*box[2:], shape[1], *sides[2:]),
    ):
        first = max(start - before, 0) // ALIGNMENT * ALIGNMENT
        end = min(-(-(stop + after) // ALIGNMENT) * ALIGNMENT, n)
        corners.append((first, end - first))
    (y0, ny), (x0, nx) = corners
    return Window(y0, x0, (ny, nx), shape)


def enclosing_exactly(
    box: tuple[int, int, int, int], around: int, window: Window
) -> tuple[int, int, int, int]:
    """Pixels of a window that matter to a box inside it; in the same order, from its first one."""
    rows, columns = window.slices
    return (
        max(box[0] - around, rows.start) - rows.start,
        min(box[1] + around, rows.stop) - rows.start,
        max(box[2] - around, columns.start) - columns.start,
        min(box[3] + around, columns.stop) - columns.start,
    )


def cut(frame: Frame, window: Window) -> Frame:
    """Cut a frame to a smaller window inside it."""
    y, x = window.y0 - frame.window.y0, window.x0 - frame.window.x0
    inner = np.s_[y : y + window.shape[0], x : x + window.shape[1]]

    def part[T: np.generic](plane: npt.NDArray[T]) -> npt.NDArray[T]:
        return np.ascontiguousarray(plane[inner])

    return Frame(
        window,
        part(frame.image),
        part(frame.variance),
        part(frame.science_mask),
        part(frame.template),
        part(frame.template_variance),
        part(frame.template_mask),
        part(frame.merged),
    )
