"""Matched filter with the local PSF: flat weights, the error propagated exactly.

Weights of one over the variance would bias every flux: a real camera's variance plane holds
each pixel's own Poisson noise, so that pixels which fluctuated down would weigh more and the
empty sky would have a mean S/N of ``-sqrt(effective area / electrons of the sky)``. Flat
weights lose nothing measurable, since noise within one PSF is nearly uniform.
"""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.engine.filter_tables import node_filter
from residua.subtraction.engine.nodes import BLOCK, bilinear_weights, node_positions
from residua.subtraction.engine.separable import apply_strip, padded_source, padding
from residua.subtraction.engine.threads import run_strips
from residua.subtraction.images import FloatPlane, PsfModel

__all__ = ["MatchedFilter", "matched_filter"]

type Array = npt.NDArray[np.float64]
type BoolPlane = npt.NDArray[np.bool_]

_SIGNAL_TOLERANCE = 5e-3
"""Error of the PSF's low-rank form, relative rms: S/N and flux lose its square."""
_VARIANCE_TOLERANCE = 1e-2
_SUPPORT = 1.0 - 1e-4
_SUPPORT_OF_SQUARES = 1.0 - 1e-3
_LEAST_GOOD = 0.5


@dataclass(frozen=True)
class MatchedFilter:
    """PSF photometry at every pixel; the flux is the product of the two planes.

    Parameters
    ----------
    signal_to_noise
        float32 (ny, nx): flux over its error; NaN where less than half of the PSF's weight
        lies on good pixels.
    flux_error
        float32 (ny, nx), unit of the image; NaN likewise.
    """

    signal_to_noise: FloatPlane
    flux_error: FloatPlane


def matched_filter(
    image: FloatPlane,
    variance: FloatPlane,
    good: BoolPlane,
    psf: PsfModel,
    *,
    threads: int = 1,
    out: tuple[FloatPlane, FloatPlane] | None = None,
) -> MatchedFilter:
    """PSF flux and its error at every pixel, for white noise.

    ``flux = (P x D g) / N``, ``error = sqrt(P^2 x V g) / N``, ``N = P^2 x g``, where ``x``
    correlates with the local PSF and ``g`` is 1 on good pixels, else 0. The PSF is cut where
    it holds 0.9999 of ``sum P^2``, which leaves the flux unbiased, and ``P^2`` where it holds
    0.999, its sum kept.

    Parameters
    ----------
    image, variance
        float32 (ny, nx); anything may stand in pixels that are not good.
    good
        bool (ny, nx); good pixels have a finite positive variance.
    psf
        PSF of the image.
    threads
        Threads to use; the result does not depend on it.
    out
        Two float32 planes (S/N, error) to write into; not the inputs.
    """
    ny, nx = shape = (image.shape[0], image.shape[1])
    stamps = _node_stamps(psf, shape)
    squares = _trimmed(stamps**2)
    signal = node_filter(shape, stamps, tolerance=_SIGNAL_TOLERANCE, correlate=True)
    square = node_filter(shape, squares, tolerance=_VARIANCE_TOLERANCE, correlate=True)
    norms = _block_norms(squares.sum(axis=(1, 2)), shape)
    if out is None:
        out = np.empty(shape, np.float32), np.empty(shape, np.float32)
    signal_to_noise, flux_error = out
    half = signal.half_width
    pad = padding(half)

    def strip(first: int, end: int) -> None:
        flux = padded_source(first, end, (ny, nx), half)
        noise = padded_source(first, end, (ny, nx), half)
        usable = padded_source(first, end, (ny, nx), half)
        any_bad = _select(image, variance, good, first - half, end + half, pad, flux, noise, usable)
        numerator, denominator = signal_to_noise[first:end], flux_error[first:end]
        apply_strip(signal, flux, first, numerator)
        apply_strip(square, noise, first, denominator)
        whole = np.repeat(norms[first // BLOCK : -(-end // BLOCK)], BLOCK, axis=1)
        norm = np.empty((end - first, nx) if any_bad else (0, 0), np.float32)
        if any_bad:
            apply_strip(square, usable, first, norm)
        _finish(numerator, denominator, norm, whole)

    run_strips(strip, ny, threads=threads)
    return MatchedFilter(signal_to_noise, flux_error)


def _block_norms(sums: Array, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """``sum P^2`` on each block of constant taps, as the filters interpolate it."""
    weights, sets = bilinear_weights(shape)
    return np.asarray(np.sum(weights * sums[sets], axis=-1), np.float32)


def _node_stamps(psf: PsfModel, shape: tuple[int, int]) -> Array:
    """PSF at the nodes, cut to the support that matters."""
    nodes_y, nodes_x = node_positions(shape)
    stamps = np.array([psf.stamp(x, y) for y in nodes_y for x in nodes_x])
    centre = psf.size // 2
    whole = (stamps**2).sum(axis=(1, 2))
    for half in range(min(3, centre), centre + 1):
        inner = slice(centre - half, centre + half + 1)
        cut = stamps[:, inner, inner]
        if np.all((cut**2).sum(axis=(1, 2)) >= _SUPPORT * whole):
            break
    return cut


def _trimmed(squares: Array) -> Array:
    """Squares of the PSF without their far wings, which the variance hardly varies over.

    The filter is that much narrower; the sums are kept.
    """
    centre = squares.shape[-1] // 2
    whole = squares.sum(axis=(1, 2), keepdims=True)
    trimmed = np.zeros_like(squares)
    for half in range(centre + 1):
        inner = (slice(None), *[slice(centre - half, centre + half + 1)] * 2)
        trimmed[inner] = squares[inner]
        kept = trimmed.sum(axis=(1, 2), keepdims=True)
        if np.all(kept >= _SUPPORT_OF_SQUARES * whole):
            break
    return np.asarray(trimmed * (whole / kept))


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _select(
    image: FloatPlane,
    variance: FloatPlane,
    good: BoolPlane,
    first: int,
    end: int,
    pad: int,
    flux: FloatPlane,
    noise: FloatPlane,
    usable: FloatPlane,
) -> bool:
    """Fill padded strips with D, V and 1 on good pixels, 0 elsewhere; tell if any is bad."""
    ny, nx = image.shape
    zero, one = np.float32(0.0), np.float32(1.0)
    any_bad = first < 0 or end > ny
    for y in range(max(first, 0), min(end, ny)):
        row, row_variance, row_good = image[y], variance[y], good[y]
        a = flux[y - first, pad : pad + nx]
        b = noise[y - first, pad : pad + nx]
        c = usable[y - first, pad : pad + nx]
        n_good = 0
        for x in range(nx):
            fine = row_good[x]
            a[x] = row[x] if fine else zero
            b[x] = row_variance[x] if fine else zero
            c[x] = one if fine else zero
            n_good += fine
        any_bad |= n_good < nx
    return any_bad


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _finish(
    numerator: FloatPlane, denominator: FloatPlane, norm: FloatPlane, whole: FloatPlane
) -> None:
    """Turn sums into S/N and error, in place; without ``norm`` every pixel is good."""
    nan, one = np.float32(np.nan), np.float32(1.0)
    least, zero = np.float32(_LEAST_GOOD), np.float32(0.0)
    for y in range(numerator.shape[0]):
        a, b, d = numerator[y], denominator[y], whole[y // BLOCK]
        c = norm[y] if norm.size else d
        for x in range(a.size):
            root = np.sqrt(b[x])
            fine = (c[x] >= least * d[x]) & (b[x] > zero)
            a[x] = a[x] * (one / root) if fine else nan
            b[x] = root / c[x] if fine else nan
