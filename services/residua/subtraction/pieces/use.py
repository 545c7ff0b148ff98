"""A matching kernel in pieces as it is applied: exact at the seams, ``sum_p K_p x (T 1_p)``."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from residua.subtraction.engine.filter_tables import VaryingKernel
from residua.subtraction.engine.separable import apply_strip, padded_source, padding
from residua.subtraction.engine.threads import run_strips
from residua.subtraction.engine.window import Window, whole
from residua.subtraction.images import FloatPlane

__all__ = ["KernelPieces", "convolve_pieces", "runs_of"]

type Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class KernelPieces:
    """Kernels of pieces of the convolved image.

    Parameters
    ----------
    kernels
        Of piece 1, 2, ...; all of one half width. Everywhere else the kernel of the whole counts.
    runs
        int32 (n, 4): row, first and last column, number of the piece.
    """

    kernels: tuple[VaryingKernel, ...]
    runs: npt.NDArray[np.int32]

    def labels(self, window: Window) -> Labels:
        """Numbers of the pieces of a window's pixels, uint8; 0 for the rest."""
        out = np.zeros(window.shape, np.uint8)
        rows = self.runs[:, 0] - window.y0
        inside = (rows >= 0) & (rows < window.shape[0])
        columns = np.clip(self.runs[:, 1:3] - window.x0 + [0, 1], 0, window.shape[1])
        for row, (first, end), number in zip(
            rows[inside].tolist(), columns[inside].tolist(), self.runs[inside, 3].tolist(),
            strict=True,
        ):  # fmt: skip
            out[row, first:end] = number
        return out


def runs_of(labels: Labels) -> npt.NDArray[np.int32]:
    """Find the runs of equal numbers other than 0, row by row, for `KernelPieces`."""
    pieces = []
    for row in range(labels.shape[0]):
        line = labels[row]
        starts = np.concatenate([[0], np.flatnonzero(line[1:] != line[:-1]) + 1])
        ends = np.append(starts[1:], line.size) - 1
        numbers = line[starts]
        used = numbers > 0
        pieces.append(
            np.column_stack(
                [np.full(int(used.sum()), row), starts[used], ends[used], numbers[used]]
            )
        )
    return np.concatenate(pieces).astype(np.int32)


def convolve_pieces(
    image: FloatPlane,
    kernel: VaryingKernel,
    pieces: KernelPieces,
    *,
    window: Window | None = None,
    threads: int = 1,
    out: FloatPlane | None = None,
) -> FloatPlane:
    """Convolve each piece of an image with its kernel, and add up.

    Parameters
    ----------
    image
        float32 (ny, nx), finite everywhere.
    kernel
        Of what is in no piece.
    pieces
        The pieces and their kernels.
    window
        Which part of the kernels' image ``image`` is; default the whole.
    threads
        Threads to use; the result does not depend on it.
    out
        float32 (ny, nx) to write into; must not be ``image``.
    """
    ny, nx = image.shape
    window = window or whole((ny, nx))
    if out is None:
        out = np.empty((ny, nx), np.float32)
    labels = pieces.labels(window)
    kernels: Sequence[VaryingKernel] = (kernel, *pieces.kernels)
    filters = [k.tables.along(k.polynomial, window) for k in kernels]

    def strip(first: int, end: int) -> None:
        part = np.empty((end - first, nx), np.float32)
        out[first:end] = 0.0
        for number, filter_ in enumerate(filters):
            half = filter_.half_width
            pad = padding(half)
            lower, upper = max(first - half, 0), min(end + half, ny)
            own = labels[lower:upper] == number
            if not own.any():
                continue
            source = padded_source(first, end, (ny, nx), half)
            offset = lower - (first - half)
            source[offset : offset + upper - lower, pad : pad + nx] = np.where(
                own, image[lower:upper], np.float32(0.0)
            )
            apply_strip(filter_, source, first, part)
            # In order; where a piece has nothing it adds exact zeros.
            out[first:end] += part

    run_strips(strip, ny, threads=threads)
    return out
