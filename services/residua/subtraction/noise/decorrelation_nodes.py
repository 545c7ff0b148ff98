"""The decorrelation kernel psi and all that follows from it, at the nodes of a coarse grid."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.fft import next_fast_len

from residua.subtraction.align.lanczos import power_spectrum
from residua.subtraction.engine.nodes import node_positions
from residua.subtraction.images import (
    ConvolvedImage,
    FloatPlane,
    MatchingKernel,
    PsfModel,
    SpatialPolynomial,
)

__all__ = ["DecorrelationNodes", "decorrelation_nodes", "node_medians"]

type Array = npt.NDArray[np.float64]

_PSI_HALF_WIDTH = {"template": 7, "science": 15}
"""Deconvolving (science image convolved) needs the wider one."""
_SUPPORT = 0.998
"""Share of the variance filters' sum that their support must hold."""
_PSF_ORDER = 2
_EXCESS_BOUNDS = (0.1, 10.0)
_NODES_AT_ONCE = 16
"""So that the Fourier planes of all nodes need not be in memory together."""


@dataclass(frozen=True)
class DecorrelationNodes:
    """Filters at the nodes of `residua.subtraction.engine.nodes.node_positions`, y slowest.

    Parameters
    ----------
    psi
        float64 (n_nodes, size, size): what the difference is convolved with. Sum 1, or
        ``1 / k0`` when the science image was convolved.
    science_square, template_square
        float64 (n_nodes, size, size): what the variances VS and VT are convolved with.
    psf
        PSF of the decorrelated difference.
    science_variance, template_variance
        float64 (n_nodes,): v1 and v2, medians around the nodes.
    """

    psi: Array
    science_square: Array
    template_square: Array
    psf: PsfModel
    science_variance: Array
    template_variance: Array

    def with_variance_times(self, factors: Array) -> "DecorrelationNodes":
        """Multiply the variance that the filters give by a factor at each node."""
        by = factors[:, None, None]
        return replace(
            self,
            science_square=self.science_square * by,
            template_square=self.template_square * by,
        )


def node_medians(plane: FloatPlane, good: npt.NDArray[np.bool_]) -> Array:
    """Medians of the good pixels around each node, from every 8th pixel of a large plane.

    Parameters
    ----------
    plane
        float32 (ny, nx).
    good
        bool (ny, nx).

    Returns
    -------
    numpy.ndarray
        float64 (n_nodes,), y slowest; the median of the whole plane where a node has fewer
        than 30 good pixels; 1 if there is none at all.
    """
    nodes_y, nodes_x = node_positions((plane.shape[0], plane.shape[1]))
    stride = 8 if plane.size > 4_000_000 else 2
    values = np.where(good[::stride, ::stride], plane[::stride, ::stride], np.float32(np.nan))
    values = np.where(np.isfinite(values) & (values > 0), values, np.float32(np.nan))
    rest = values[np.isfinite(values)]
    whole = float(np.median(rest)) if rest.size else 1.0

    def edges(nodes: Array) -> npt.NDArray[np.int64]:
        middles = 0.5 * (nodes[1:] + nodes[:-1])
        inner = np.ceil(middles / stride).astype(np.int64)
        return np.concatenate([[0], inner, [plane.size]])

    medians = np.full((nodes_y.size, nodes_x.size), whole)
    edges_y, edges_x = edges(nodes_y), edges(nodes_x)
    for i in range(nodes_y.size):
        for j in range(nodes_x.size):
            cell = values[edges_y[i] : edges_y[i + 1], edges_x[j] : edges_x[j + 1]]
            cell = cell[np.isfinite(cell)]
            if cell.size >= 30:
                medians[i, j] = np.median(cell)
    return medians.ravel()


def _centred(stamp: Array, n: int) -> Array:
    """Place stamps (..., size, size) with their centre at index [0, 0] of an n x n plane."""
    half = stamp.shape[-1] // 2
    plane = np.zeros((*stamp.shape[:-2], n, n))
    plane[..., : stamp.shape[-2], : stamp.shape[-1]] = stamp
    return np.roll(plane, (-half, -half), axis=(-2, -1))


def _stamp(plane: Array, half: int) -> Array:
    """Cut stamps of half width ``half`` around index [0, 0] of periodic planes."""
    rolled = np.roll(plane, (half, half), axis=(-2, -1))
    return np.ascontiguousarray(rolled[..., : 2 * half + 1, : 2 * half + 1])


def _square(amplitude: npt.NDArray[np.complex128]) -> Array:
    """Squares of the filters of the amplitudes, cut to their support, with their whole sum."""
    square = np.fft.irfft2(amplitude) ** 2
    whole = square.sum(axis=(1, 2), keepdims=True)
    largest = square.shape[-1] // 2 - 1
    for half in range(3, largest + 1):
        stamps = _stamp(square, half)
        inside = stamps.sum(axis=(1, 2), keepdims=True)
        if np.all(inside >= _SUPPORT * whole):
            break
    return np.asarray(stamps * (whole / inside))


def decorrelation_nodes(
    science_variance: FloatPlane,
    template_variance: FloatPlane,
    good: npt.NDArray[np.bool_],
    *,
    kernel: MatchingKernel,
    noise_covariance: npt.NDArray[np.float64],
    unconvolved_psf: PsfModel,
    convolved: ConvolvedImage,
    covariance: Array | None = None,
    kernels: Callable[[Array, Array], Array] | None = None,
) -> DecorrelationNodes:
    """Compute psi, the variance filters and the new PSF at all nodes.

    Template convolved (DMTN-021, with the noise power W of the warp)::

        psi^ = sqrt((v1 + v2 k0^2) / (v1 + v2 |K^|^2 W)),  k0 = sum K

    Science image convolved::

        psi^ = sqrt((v1 k0^2 + v2) / (v1 |K^|^2 + v2 W))

    cut to 15 x 15 (31 x 31) px and scaled to sum 1. The variance filters are the squares of
    psi and psi x K x l (of psi x K and psi x l, over k0^2), with l^ = sqrt(W).

    Parameters
    ----------
    science_variance, template_variance
        float32 (ny, nx): VS, and VT of `residua.subtraction.align.warp.WarpedTemplate`.
    good
        bool (ny, nx): pixels without any unusable plane.
    kernel
        The kernel that made the difference.
    noise_covariance
        `WarpedTemplate.noise_covariance`.
    unconvolved_psf
        PSF, on the science grid, of the image that was not convolved.
    convolved
        Which image was convolved.
    covariance
        float64 (size, size), by lag: what these filters left of covariance in units of the
        claimed variance, when they were applied before without this argument. Psi is divided
        by the root of its power, and the variance multiplied by it.
    kernels
        Stamps of the kernel at positions x, y, where ``kernel`` is not that of every place.
    """
    shape = (good.shape[0], good.shape[1])
    nodes_y, nodes_x = node_positions(shape)
    y, x = (c.ravel() for c in np.meshgrid(nodes_y, nodes_x, indexing="ij"))
    v1, v2 = node_medians(science_variance, good), node_medians(template_variance, good)
    if kernels is None:
        weights = kernel.polynomial.terms(x, y) @ kernel.coefficients.T
        stamps = np.tensordot(weights, kernel.basis, axes=(1, 0))
    else:
        stamps = kernels(x, y)
    half = _PSI_HALF_WIDTH[convolved]
    # Room for kernel, psi and noise covariance; what wraps round is negligible.
    n = next_fast_len(stamps.shape[-1] + 23, real=True)
    n = max(128 if convolved == "science" else 64, n + n % 2)

    excess = None if covariance is None else _excess_power(covariance, n)
    parts = [
        _filters(
            stamps[part], noise_covariance[part], v1[part], v2[part], n, half, convolved, excess
        )
        for part in (slice(k, k + _NODES_AT_ONCE) for k in range(0, len(stamps), _NODES_AT_ONCE))
    ]
    psi, science_square, template_square = (_joined([part[k] for part in parts]) for k in range(3))
    scale = 1.0 if convolved == "template" else 1.0 / stamps.sum(axis=(1, 2))[:, None, None]
    return DecorrelationNodes(
        psi=psi * scale,
        science_square=science_square * scale**2,
        template_square=template_square * scale**2,
        psf=_convolved_psf(unconvolved_psf, psi, x, y, shape),
        science_variance=v1,
        template_variance=v2,
    )


def _filters(
    stamps: Array,
    noise_covariance: Array,
    v1: Array,
    v2: Array,
    n: int,
    half: int,
    convolved: ConvolvedImage,
    excess: Array | None,
) -> tuple[Array, Array, Array]:
    """Psi and the variance filters of a few nodes, not yet divided by k0."""
    k0 = stamps.sum(axis=(1, 2))[:, None, None]
    # Half of the frequencies say all about real planes.
    response = np.fft.rfft2(_centred(stamps, n))
    power = power_spectrum(noise_covariance, n)
    a, b = v1[:, None, None], v2[:, None, None]
    if convolved == "template":
        ratio = (a + b * k0**2) / (a + b * np.abs(response) ** 2 * power)
    else:
        ratio = (a * k0**2 + b) / (a * np.abs(response) ** 2 + b * power)
    if excess is not None:
        # As it is applied, that is cut and scaled, it left what was measured.
        applied = _stamp(np.fft.irfft2(np.sqrt(ratio)), half)
        applied /= applied.sum(axis=(1, 2), keepdims=True)
        ratio = np.abs(np.fft.rfft2(_centred(applied, n))) ** 2 / excess
    psi = _stamp(np.fft.irfft2(np.sqrt(ratio)), half)
    psi /= psi.sum(axis=(1, 2), keepdims=True)
    # From here on psi as it is applied, that is cut and scaled.
    psi_response = np.fft.rfft2(_centred(psi, n))
    if excess is not None:
        psi_response = psi_response * np.sqrt(excess)
    if convolved == "template":
        return psi, _square(psi_response), _square(psi_response * response * np.sqrt(power))
    return psi, _square(psi_response * response), _square(psi_response * np.sqrt(power))


def _excess_power(covariance: Array, n: int) -> Array:
    """Power of a covariance on the half plane of n x n frequencies, within bounds."""
    power = np.fft.rfft2(_centred(covariance, n)).real
    return np.clip(power, *_EXCESS_BOUNDS)


def _joined(parts: Sequence[Array]) -> Array:
    """Join stamps of several sizes to one array of the largest, zeros around the smaller."""
    half = max(part.shape[-1] // 2 for part in parts)
    margins = [half - part.shape[-1] // 2 for part in parts]
    return np.concatenate(
        [np.pad(part, ((0, 0), (m, m), (m, m))) for part, m in zip(parts, margins, strict=True)]
    )


def _convolved_psf(
    psf: PsfModel, psi: Array, x: Array, y: Array, shape: tuple[int, int]
) -> PsfModel:
    """``psi x P`` at the nodes as a polynomial of order 2, on its whole support."""
    size = psf.size + psi.shape[-1] - 1
    n = next_fast_len(size, real=True)
    n += n % 2
    stamps = np.tensordot(psf.polynomial.terms(x, y), psf.coefficients, axes=(1, 0))
    stamps /= stamps.sum(axis=(1, 2), keepdims=True)
    product = np.fft.irfft2(np.fft.rfft2(_centred(stamps, n)) * np.fft.rfft2(_centred(psi, n)))
    values = _stamp(product, size // 2)
    values /= values.sum(axis=(1, 2), keepdims=True)
    polynomial = SpatialPolynomial(shape, _PSF_ORDER)
    terms = polynomial.terms(x, y)
    coefficients = np.linalg.lstsq(terms, values.reshape(len(values), -1), rcond=None)[0]
    return PsfModel(coefficients.reshape(-1, size, size), polynomial)
