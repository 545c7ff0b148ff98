"""Tables of the spatially varying filters, in the form in which they are applied and kept."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from residua.subtraction.engine.nodes import bilinear_weights
from residua.subtraction.engine.separable import SeparableFilter
from residua.subtraction.engine.window import Window, whole
from residua.subtraction.images import SpatialPolynomial

__all__ = [
    "FilterTables",
    "VaryingKernel",
    "node_filter",
    "node_tables",
    "polynomial_filter",
    "polynomial_tables",
]

type Array = npt.NDArray[np.float64]
type Array32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FilterTables:
    """What a `SeparableFilter` consists of, but for the weights, which follow from the image.

    Parameters
    ----------
    vertical
        float32 (n_functions, size).
    horizontal
        float32 (n_sets, n_functions, size): sets of taps.
    vertical_half, horizontal_half
        int32 (n_functions,): half widths beyond which function or taps are zero.
    """

    vertical: Array32
    horizontal: Array32
    vertical_half: npt.NDArray[np.int32]
    horizontal_half: npt.NDArray[np.int32]

    @property
    def half_width(self) -> int:
        """Half width of the filter, pixels."""
        return int(self.vertical.shape[1]) // 2

    def at_nodes(self, window: Window) -> SeparableFilter:
        """Filter of a window whose taps are bilinear between the nodes."""
        return self._filter(*bilinear_weights(window.image, window.block_centres()))

    def along(self, polynomial: SpatialPolynomial, window: Window) -> SeparableFilter:
        """Filter of a window whose taps follow a polynomial over the whole image."""
        y, x = window.block_centres()
        weights = polynomial.terms(x[None, :], y[:, None]).astype(np.float32)
        sets = np.broadcast_to(np.arange(weights.shape[-1], dtype=np.int32), weights.shape)
        return self._filter(weights, sets)

    def rounded(self, bits: int) -> "FilterTables":
        """With horizontal taps that are multiples of ``2^-bits``."""
        taps = np.rint(self.horizontal.astype(np.float64) * 2.0**bits) / 2.0**bits
        return FilterTables(
            self.vertical, taps.astype(np.float32), self.vertical_half, self.horizontal_half
        )

    def _filter(self, weights: Array32, sets: npt.NDArray[np.int32]) -> SeparableFilter:
        # Copies can be written to: passes are not compiled once more for kept arrays.
        return SeparableFilter(
            self.vertical.copy(),
            self.horizontal.copy(),
            self.vertical_half.copy(),
            self.horizontal_half.copy(),
            np.ascontiguousarray(weights),
            np.ascontiguousarray(sets),
        )


@dataclass(frozen=True)
class VaryingKernel:
    """The matching kernel as it is applied.

    Parameters
    ----------
    tables
        Taps of each spatial term.
    polynomial
        The terms.
    """

    tables: FilterTables
    polynomial: SpatialPolynomial

    @property
    def half_width(self) -> int:
        """Half width of the kernel, pixels."""
        return self.tables.half_width


def _half_widths(functions: Array) -> npt.NDArray[np.int32]:
    """Half width beyond which each function (last axis) is zero in every set (other axes)."""
    half = functions.shape[-1] // 2
    used = np.any(functions != 0.0, axis=0)
    distance = np.abs(np.arange(-half, half + 1))
    return np.max(np.where(used, distance, 0), axis=-1).astype(np.int32)


def polynomial_tables(vertical: Array, horizontal: Array) -> FilterTables:
    """Tables of a filter to *convolve* with.

    Parameters
    ----------
    vertical
        float64 (n_functions, size).
    horizontal
        float64 (n_terms, n_functions, size).
    """
    return FilterTables(
        vertical=np.ascontiguousarray(vertical[:, ::-1], dtype=np.float32),
        horizontal=np.ascontiguousarray(horizontal[..., ::-1], dtype=np.float32),
        vertical_half=_half_widths(vertical[None]),
        horizontal_half=_half_widths(horizontal),
    )


def polynomial_filter(
    shape: tuple[int, int],
    vertical: Array,
    horizontal: Array,
    polynomial: SpatialPolynomial,
) -> SeparableFilter:
    """Filter to *convolve* with, whose taps vary as a polynomial over the image.

    Parameters
    ----------
    shape
        (ny, nx) of the image.
    vertical, horizontal
        As for `polynomial_tables`.
    polynomial
        The terms, over the same image.
    """
    return polynomial_tables(vertical, horizontal).along(polynomial, whole(shape))


def node_tables(
    stamps: Array,
    *,
    tolerance: float,
    correlate: bool = False,
    exact_sums: bool = False,
) -> FilterTables:
    """Tables of a filter from stamps at the nodes, by a common low-rank expansion.

    The vertical functions are the leading singular vectors of all stamps together. The sums of
    the stamps, which are flux or noise scales, are kept.

    Parameters
    ----------
    stamps
        float64 (n_nodes, size, size), in the order of `node_positions` (y slowest).
    tolerance
        Root-mean-square error of the expansion, relative to the rms of the stamps.
    correlate
        Correlate with the stamps (matched filter) instead of convolving.
    exact_sums
        Keep the sums by a vertical function of their own, not by scaling: for stamps whose
        positive and negative values nearly cancel.
    """
    size = stamps.shape[-1]
    rows = stamps.transpose(1, 0, 2).reshape(size, -1)
    constant = np.full((1, size), size**-0.5)
    rest = rows - constant.T @ (constant @ rows) if exact_sums else rows
    # The singular vectors of the small Gram matrix: `rows` itself is wide.
    power, vectors = np.linalg.eigh(rest @ rest.T)
    power, vectors = np.clip(power[::-1], 0.0, None), vectors[:, ::-1]
    lost = np.append(np.cumsum(power[::-1])[::-1], 0.0)
    rank = max(1, int(np.argmax(lost <= tolerance**2 * np.sum(rows**2))))
    vertical = vectors[:, :rank].T
    if exact_sums:
        vertical = np.vstack([constant, vertical])
    horizontal = np.einsum("iy,nyx->nix", vertical, stamps)
    if not exact_sums:
        kept = np.einsum("iy,nix->n", vertical, horizontal)
        horizontal *= (stamps.sum(axis=(1, 2)) / kept)[:, None, None]
    if correlate:
        vertical, horizontal = vertical[:, ::-1], horizontal[..., ::-1]
    return polynomial_tables(vertical, horizontal)


def node_filter(
    shape: tuple[int, int],
    stamps: Array,
    *,
    tolerance: float,
    correlate: bool = False,
    exact_sums: bool = False,
) -> SeparableFilter:
    """Filter over an image of ``shape`` with the tables of `node_tables`, between the nodes."""
    tables = node_tables(stamps, tolerance=tolerance, correlate=correlate, exact_sums=exact_sums)
    return tables.at_nodes(whole(shape))
