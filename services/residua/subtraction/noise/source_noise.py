"""Noise of a source's own photons, which the decorrelation does not whiten.

psi whitens the noise of the sky. Where a bright source adds noise to the science image alone,
that part goes through ``h = psi x K`` and stays correlated when ``h`` is wide, that is, when
the science image was convolved. The matched filter, which takes pixels as independent, then
claims too small an error of the flux.
"""

import numpy as np
import numpy.typing as npt

from residua.subtraction.engine.nodes import node_positions
from residua.subtraction.images import FloatPlane, MatchingKernel, PsfModel
from residua.subtraction.noise.decorrelation_nodes import DecorrelationNodes

__all__ = ["source_noise_factor"]

type Array = npt.NDArray[np.float64]

_SIDE = 64
"""Side of the periodic stamps, pixels; what wraps round is negligible."""
_LEAST_SHARE = 1e-3
"""Pixels whose variance is larger than the sky's by less than this are sky."""


def source_noise_factor(
    variance: FloatPlane,
    good: npt.NDArray[np.bool_],
    science_variance: FloatPlane,
    psf: PsfModel,
    nodes: DecorrelationNodes,
    kernel: MatchingKernel,
    x: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
) -> Array:
    """Factor by which correlated noise of sources raises the variance of matched-filter fluxes.

    With weights ``w`` of the matched filter (the PSF on good pixels) and the excess ``E`` of
    the science variance over that of the sky, the true variance of the flux exceeds the one
    claimed by ``sum E ((w * h)^2 - w^2 * h^2)``, where ``*`` correlates. Filters are those of
    the nearest node; the noise of sources in the template is not looked at.

    Parameters
    ----------
    variance
        float32 (ny, nx): of the decorrelated difference.
    good
        bool (ny, nx).
    science_variance
        float32 (ny, nx): VS.
    psf
        Of the decorrelated difference.
    nodes
        The decorrelation's filters.
    kernel
        The kernel that convolved the science image.
    x, y
        int64 (n,): pixels of the peaks.

    Returns
    -------
    numpy.ndarray
        float64 (n,), at least 1.
    """
    shape = (variance.shape[0], variance.shape[1])
    nodes_y, nodes_x = node_positions(shape)
    i = np.rint(y / (nodes_y[1] - nodes_y[0])).astype(np.int64)
    j = np.rint(x / (nodes_x[1] - nodes_x[0])).astype(np.int64)
    number = i * nodes_x.size + j
    factor = np.ones(len(x))
    for node in np.unique(number):
        at = np.flatnonzero(number == node)
        node_y, node_x = nodes_y[node // nodes_x.size], nodes_x[node % nodes_x.size]
        excess = _stamps(science_variance, good, x[at], y[at]) - nodes.science_variance[node]
        excess[excess < _LEAST_SHARE * nodes.science_variance[node]] = 0.0
        at, excess = at[excess.any(axis=(1, 2))], excess[excess.any(axis=(1, 2))]
        if not at.size:
            continue
        profile = _centred(psf.stamp(node_x, node_y))
        response = np.fft.rfft2(_at_origin(nodes.psi[node])) * np.fft.rfft2(
            _at_origin(kernel.stamp(node_x, node_y))
        )
        square = np.fft.rfft2(np.fft.irfft2(response) ** 2)
        claimed = _stamps(variance, good, x[at], y[at])
        weights = np.where(claimed > 0, profile, 0.0)
        claimed = np.sum(weights**2 * claimed, axis=(1, 2))
        correlated = np.fft.irfft2(np.fft.rfft2(weights) * np.conj(response)) ** 2
        independent = np.fft.irfft2(np.fft.rfft2(weights**2) * np.conj(square))
        more = np.sum(excess * (correlated - independent), axis=(1, 2))
        factor[at] = 1.0 + np.maximum(more / np.maximum(claimed, np.finfo(np.float64).tiny), 0.0)
    return factor


def _stamps(
    plane: FloatPlane,
    good: npt.NDArray[np.bool_],
    x: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
) -> Array:
    """Float64 (n, 64, 64) cut-outs with the pixel (x, y) at index 32; 0 where not good."""
    offset = np.arange(_SIDE) - _SIDE // 2
    rows, columns = y[:, None] + offset, x[:, None] + offset
    inside = ((rows >= 0) & (rows < plane.shape[0]))[:, :, None] & (
        (columns >= 0) & (columns < plane.shape[1])
    )[:, None, :]
    at = (
        np.clip(rows, 0, plane.shape[0] - 1)[:, :, None],
        np.clip(columns, 0, plane.shape[1] - 1)[:, None, :],
    )
    return np.where(inside & good[at], plane[at], 0.0).astype(np.float64)


def _centred(stamp: Array) -> Array:
    """64 x 64 px with the stamp's centre at index 32."""
    return np.roll(_at_origin(stamp), (_SIDE // 2, _SIDE // 2), axis=(0, 1))


def _at_origin(stamp: Array) -> Array:
    """64 x 64 px, periodic, with the stamp's centre at index 0; wings beyond are cut."""
    half = stamp.shape[0] // 2
    cut = max(half - _SIDE // 2 + 1, 0)
    inner = stamp[cut : stamp.shape[0] - cut, cut : stamp.shape[1] - cut]
    plane = np.zeros((_SIDE, _SIDE))
    plane[: inner.shape[0], : inner.shape[1]] = inner
    return np.roll(plane, (-(inner.shape[0] // 2), -(inner.shape[1] // 2)), axis=(0, 1))
