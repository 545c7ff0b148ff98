"""Convolution of one stamp with every function of a kernel basis, separably."""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.engine.simd import (
    LANES,
    TILE_COLUMNS,
    TILE_ROWS,
    set_taps,
)
from residua.subtraction.match.basis import KernelBasis

__all__ = ["StampConvolution", "stamp_convolution"]

type Array = npt.NDArray[np.float64]
type Array32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class StampConvolution:
    """Tables for the convolution of stamps of one size with one basis.

    Parameters
    ----------
    side
        Side of the convolved stamps, pixels.
    half_width
        Half width of the kernel, pixels.
    functions
        float32 (n_functions, size): 1-D functions, reversed.
    supports
        int64 (n_functions,): half widths beyond which they are zero.
    pairs
        int64 (n_pairs, 2): (vertical, horizontal) functions of every product, sorted.
    shares
        float64 (n_pairs, n_basis): what each product contributes to each basis function.
    """

    side: int
    half_width: int
    functions: Array32
    supports: npt.NDArray[np.int64]
    pairs: npt.NDArray[np.int64]
    shares: Array

    def convolve(self, source: Array | Array32) -> Array:
        """Convolve a stamp with every basis function.

        Parameters
        ----------
        source
            (side + 2 half_width, side + 2 half_width), finite.

        Returns
        -------
        numpy.ndarray
            float64 (n_basis, side * side).
        """
        rows = -(-self.side // TILE_ROWS) * TILE_ROWS + 2 * self.half_width
        columns = -(-self.side // TILE_COLUMNS) * TILE_COLUMNS
        pad = -(-self.half_width // LANES) * LANES
        padded = np.zeros((rows, columns + 2 * pad), np.float32)
        start = pad - self.half_width
        padded[: source.shape[0], start : start + source.shape[1]] = source
        out = np.zeros((self.shares.shape[1], self.side * self.side))
        _convolve(
            padded, self.side, pad, self.functions, self.supports, self.pairs, self.shares, out
        )
        return out


def stamp_convolution(basis: KernelBasis, side: int) -> StampConvolution:
    """Prepare the convolution of stamps of ``side`` x ``side`` pixels with a basis."""
    distance = np.abs(np.arange(-basis.half_width, basis.half_width + 1))
    supports = np.max(np.where(basis.functions != 0.0, distance, 0), axis=1)
    pairs = np.argwhere(np.any(basis.products != 0.0, axis=0))
    return StampConvolution(
        side=side,
        half_width=basis.half_width,
        functions=np.ascontiguousarray(basis.functions[:, ::-1], dtype=np.float32),
        supports=supports.astype(np.int64),
        pairs=pairs.astype(np.int64),
        shares=np.ascontiguousarray(basis.products[:, pairs[:, 0], pairs[:, 1]].T),
    )


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _convolve(
    source: Array32,
    side: int,
    pad: int,
    functions: Array32,
    supports: npt.NDArray[np.int64],
    pairs: npt.NDArray[np.int64],
    shares: Array,
    out: Array,
) -> None:
    width = source.shape[1]
    columns = width - 2 * pad
    rows = (side + TILE_ROWS - 1) // TILE_ROWS * TILE_ROWS
    size = functions.shape[1]
    half = size // 2
    middle = np.zeros((rows, width), np.float32)
    product = np.zeros((rows, columns), np.float32)
    done = -1
    for p in range(pairs.shape[0]):
        i, j = pairs[p]
        if i != done:
            done = i
            reach = supports[i]
            for y in range(0, rows, TILE_ROWS):
                for x in range(0, width, TILE_COLUMNS):
                    set_taps(
                        middle, y * width + x, width,
                        source, (y + half - reach) * width + x, width, width,
                        functions, i * size + half - reach, 2 * reach + 1,
                    )  # fmt: skip
        reach = supports[j]
        for y in range(0, rows, TILE_ROWS):
            for x in range(0, columns, TILE_COLUMNS):
                set_taps(
                    product, y * columns + x, columns,
                    middle, y * width + pad + x - reach, width, 1,
                    functions, j * size + half - reach, 2 * reach + 1,
                )  # fmt: skip
        for b in range(shares.shape[1]):
            share = shares[p, b]
            if share == 0.0:
                continue
            for y in range(side):
                target = out[b, y * side : (y + 1) * side]
                row = product[y]
                for x in range(side):
                    target[x] += share * row[x]
