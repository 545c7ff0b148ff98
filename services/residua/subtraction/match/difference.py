"""The bare difference: science image, matched template and differential background."""

from collections.abc import Sequence

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.engine.threads import run_strips
from residua.subtraction.engine.window import Window, whole
from residua.subtraction.images import ConvolvedImage, FloatPlane, MaskPlane, MatchingKernel
from residua.subtraction.masks import MaskBit

__all__ = ["blank_missing", "subtract_matched"]


def subtract_matched(
    science: FloatPlane,
    template: FloatPlane,
    matched: FloatPlane,
    kernel: MatchingKernel,
    convolved: ConvolvedImage,
    *,
    window: Window | None = None,
    threads: int = 1,
    out: FloatPlane | None = None,
) -> FloatPlane:
    """``S - K x T - bg``, or ``K x S + bg - T`` when the science image was convolved.

    Parameters
    ----------
    science, template
        float32 (ny, nx), the template on the science image's grid.
    matched
        float32 (ny, nx): the convolved one of the two.
    kernel
        Holds the differential background.
    convolved
        Which image was convolved.
    window
        Which part of the kernel's image the planes are; default the whole.
    threads
        Threads to use; the result does not depend on it.
    out
        float32 (ny, nx) to write into.
    """
    ny, nx = matched.shape
    window = window or whole((ny, nx))
    polynomial = kernel.background_polynomial
    products = np.zeros((polynomial.order + 1, polynomial.order + 1))
    for (i, j), value in zip(polynomial.exponents, kernel.background, strict=True):
        products[i, j] = value
    y, x = (np.arange(n) for n in window.image)
    u = ((2.0 * x + 1.0) / window.image[1] - 1.0)[window.slices[1]]
    v = ((2.0 * y + 1.0) / window.image[0] - 1.0)[window.slices[0]]
    chebyshev = np.polynomial.chebyshev.chebvander
    # bg(y, x) = sum_j rows[y, j] columns[j, x]; summed in order, not by a matrix product.
    along_y = chebyshev(v, polynomial.order)
    rows = np.zeros((ny, polynomial.order + 1))
    for i in range(polynomial.order + 1):
        rows += along_y[:, i : i + 1] * products[i]
    rows = rows.astype(np.float32)
    columns = np.ascontiguousarray(chebyshev(u, polynomial.order).T, dtype=np.float32)
    positive, negative, sign = (
        (science, matched, -1.0) if convolved == "template" else (matched, template, 1.0)
    )
    rows *= np.float32(sign)
    result = np.empty((ny, nx), np.float32) if out is None else out

    def strip(first: int, end: int) -> None:
        part = slice(first, end)
        _subtract(positive[part], negative[part], rows[part], columns, result[part])

    run_strips(strip, ny, threads=threads)
    return result


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _subtract(
    positive: FloatPlane,
    negative: FloatPlane,
    rows: npt.NDArray[np.float32],
    columns: npt.NDArray[np.float32],
    out: FloatPlane,
) -> None:
    """``positive - negative + background``."""
    background = np.empty(out.shape[1], np.float32)
    for y in range(out.shape[0]):
        background[:] = np.float32(0.0)
        for j in range(columns.shape[0]):
            factor, column = rows[y, j], columns[j]
            for x in range(background.size):
                background[x] += factor * column[x]
        a, b, c = positive[y], negative[y], out[y]
        for x in range(background.size):
            c[x] = (a[x] - b[x]) + background[x]


def blank_missing(mask: MaskPlane, planes: Sequence[FloatPlane], *, threads: int = 1) -> None:
    """Put NaN, in place, where there are no data.

    Parameters
    ----------
    mask
        int32 (ny, nx).
    planes
        float32 (ny, nx), changed.
    threads
        Threads to use.
    """

    def strip(first: int, end: int) -> None:
        missing = (mask[first:end] & int(MaskBit.NO_DATA)) != 0
        if missing.any():
            for plane in planes:
                plane[first:end][missing] = np.nan

    run_strips(strip, mask.shape[0], threads=threads)
