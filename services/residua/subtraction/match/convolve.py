"""Convolution with the spatially varying matching kernel, exact and separable.

The kernel is a sum of products of 1-D functions (`KernelBasis`), so ``K x T`` costs one
vertical and one horizontal pass per 1-D function, each with its own support: about 450
multiply-adds a pixel for a 31 x 31 kernel of 28 functions instead of 961.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from residua.subtraction.engine.filter_tables import VaryingKernel, polynomial_tables
from residua.subtraction.engine.separable import apply_strip, padded_source, padding
from residua.subtraction.engine.threads import run_strips
from residua.subtraction.engine.window import Window, whole
from residua.subtraction.images import FloatPlane, MatchingKernel
from residua.subtraction.match.basis import KernelBasis

__all__ = ["convolve_varying", "varying_kernel"]

type Array = npt.NDArray[np.float64]

_LARGEST_TAP = 2.0
"""Of a kernel of sum 1: beyond, float32 leaves 0.01 sigma of the sky on the brightest stars."""


def varying_kernel(kernel: MatchingKernel, basis: KernelBasis) -> VaryingKernel:
    """Express the matching kernel by the tables with which it is applied.

    The basis's own functions are far from orthogonal: their taps may be hundreds of times the
    kernel's and cancel, which float32 cannot do. Orthonormal functions keep the taps small;
    those of one width suffice as a rule, and keep the horizontal taps as narrow; where they do
    not, all functions are made orthonormal, which costs half as much again.
    """
    # taps_i(x; terms) = sum_b,j coefficient[b, term] products[b, i, j] functions[j, x]
    horizontal = np.einsum(
        "bt,bij,jx->tix", kernel.coefficients, basis.products, basis.functions, optimize=True
    )
    # Where the einsum leaves rounding noise beyond the support of every function involved,
    # the products there are exact zeros, so the supports survive.
    distance = np.abs(np.arange(-basis.half_width, basis.half_width + 1))
    supports = np.max(np.where(basis.functions != 0.0, distance, 0), axis=1)
    groups = [np.flatnonzero(supports == s) for s in np.unique(supports)]
    vertical, taps = _orthonormal(basis.functions, horizontal, groups)
    if np.abs(taps).max() > _LARGEST_TAP:
        together = np.concatenate(groups)
        vertical, taps = _orthonormal(basis.functions, horizontal, [together])
    return VaryingKernel(polynomial_tables(vertical, taps), kernel.polynomial)


def _orthonormal(
    functions: Array, horizontal: Array, groups: Sequence[npt.NDArray[np.int64]]
) -> tuple[Array, Array]:
    """Replace the functions of each group, narrowest first, by orthonormal ones.

    ``sum_i functions[i, y] horizontal[t, i, x]`` stays the same; so does each function's
    support, since a function is a sum of narrower ones and itself.
    """
    vertical, taps = [], []
    for group in groups:
        q, r = np.linalg.qr(functions[group].T)
        # Beyond the supports of a function and all narrower ones there is rounding noise only.
        used = np.logical_or.accumulate(functions[group] != 0.0, axis=0)[: q.shape[1]]
        vertical.append(np.where(used, q.T, 0.0))
        taps.append(np.einsum("ij,tjx->tix", r, horizontal[:, group]))
    return np.concatenate(vertical), np.concatenate(taps, axis=1)


def convolve_varying(
    image: FloatPlane,
    kernel: VaryingKernel,
    *,
    window: Window | None = None,
    threads: int = 1,
    out: FloatPlane | None = None,
) -> npt.NDArray[np.float32]:
    """``K x T``: convolve an image with the spatially varying kernel.

    ``out(y, x) = sum_u K(u; y, x) image((y, x) - u)``, with K constant on blocks of 32 x 32 px
    (evaluated at their centres) and zeros outside the image. The kernel's differential
    background is not added.

    Parameters
    ----------
    image
        float32 (ny, nx), finite everywhere (NaN replaced by 0).
    kernel
        From `varying_kernel`.
    window
        Which part of the image that the kernel was made for ``image`` is; default the whole.
    threads
        Threads to use; the result does not depend on it.
    out
        float32 (ny, nx) to write into; must not be ``image``.

    Returns
    -------
    numpy.ndarray
        float32 (ny, nx), unit of ``image`` times that of the kernel.
    """
    ny, nx = image.shape
    if out is None:
        out = np.empty((ny, nx), np.float32)
    filter_ = kernel.tables.along(kernel.polynomial, window or whole((ny, nx)))
    half = filter_.half_width
    pad = padding(half)

    def strip(first: int, end: int) -> None:
        source = padded_source(first, end, (ny, nx), half)
        lower, upper = max(first - half, 0), min(end + half, ny)
        offset = lower - (first - half)
        source[offset : offset + upper - lower, pad : pad + nx] = image[lower:upper]
        apply_strip(filter_, source, first, out[first:end])

    run_strips(strip, ny, threads=threads)
    return out
