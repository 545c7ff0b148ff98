"""A part of an image on which pixel passes work as if it were an image of its own."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from residua.subtraction.engine.nodes import BLOCK, CHUNK, block_centres

__all__ = ["ALIGNMENT", "Window", "whole"]

ALIGNMENT = 64
"""Windows begin at multiples of this: strips, tiles and blocks then lie as in the whole."""


@dataclass(frozen=True)
class Window:
    """A rectangle of an image.

    Parameters
    ----------
    y0, x0
        Its first pixel; multiples of `ALIGNMENT`.
    shape
        (ny, nx) of the window.
    image
        (ny, nx) of the whole image.
    """

    y0: int
    x0: int
    shape: tuple[int, int]
    image: tuple[int, int]

    @property
    def slices(self) -> tuple[slice, slice]:
        """Of the whole image."""
        return slice(self.y0, self.y0 + self.shape[0]), slice(self.x0, self.x0 + self.shape[1])

    def block_centres(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Coordinates (y, x) in the whole image of the centres of the window's blocks."""
        y, x = block_centres(self.image)
        first, start = self.y0 // BLOCK, self.x0 // BLOCK
        columns = -(-self.shape[1] // CHUNK) * (CHUNK // BLOCK)
        # Columns are read a chunk at a time, also where the image has ended.
        at = np.minimum(np.arange(start, start + columns), x.size - 1)
        return y[first : first - (-self.shape[0] // BLOCK)], x[at]


def whole(shape: tuple[int, int]) -> Window:
    """Window that is the whole image."""
    return Window(0, 0, (shape[0], shape[1]), (shape[0], shape[1]))
