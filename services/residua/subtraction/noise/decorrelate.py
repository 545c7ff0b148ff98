"""Decorrelate the noise of the difference and propagate its variance (DMTN-021, extended).

``D' = psi x (D good)``: masked pixels are zeroed *before* psi, or saturated and garbage
pixels leak into their neighbourhood and raise false positives around bright stars.
"""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from residua.subtraction.engine.nodes import node_positions
from residua.subtraction.engine.separable import apply_strip, padded_source, padding
from residua.subtraction.engine.threads import run_strips
from residua.subtraction.engine.window import Window, whole
from residua.subtraction.images import FloatPlane, PsfModel
from residua.subtraction.noise.decorrelation_filters import DecorrelationFilters

__all__ = ["Decorrelated", "apply_psi", "decorrelate", "propagate_variance"]

type BoolPlane = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Decorrelated:
    """The difference with white noise.

    Parameters
    ----------
    image
        float32 (ny, nx), unit of the difference.
    variance
        float32 (ny, nx), finite and positive everywhere; on masked pixels it says what the
        noise would be there.
    psf
        PSF of ``image``: psi x P.
    """

    image: FloatPlane
    variance: FloatPlane
    psf: PsfModel


def decorrelate(
    difference: FloatPlane,
    good: BoolPlane,
    science_variance: FloatPlane,
    template_variance: FloatPlane,
    filters: DecorrelationFilters,
    *,
    window: Window | None = None,
    threads: int = 1,
    out_image: FloatPlane | None = None,
    out_variance: FloatPlane | None = None,
) -> Decorrelated:
    """Whiten a difference image's noise, with its variance and PSF.

    Parameters
    ----------
    difference
        float32 (ny, nx): ``S - K x T - bg``, or ``K x S + bg - T`` when the science image was
        convolved (the result is then divided by ``k0 = sum K``: flux in the science image's
        scale). Anything may stand in pixels that are not good.
    good
        bool (ny, nx): pixels with no unusable mask plane at all.
    science_variance, template_variance
        float32 (ny, nx): VS, and VT of `residua.subtraction.align.warp.WarpedTemplate`; anything
        may stand in pixels that are not good.
    filters
        From `residua.subtraction.noise.decorrelation_filters.decorrelation_filters`.
    window
        Which part of the filters' image the planes are; default the whole.
    threads
        Threads to use; the result does not depend on it.
    out_image, out_variance
        float32 (ny, nx) to write into; must not be any of the inputs.
    """
    return Decorrelated(
        apply_psi(difference, good, filters, window=window, threads=threads, out=out_image),
        propagate_variance(
            science_variance,
            template_variance,
            good,
            filters,
            window=window,
            threads=threads,
            out=out_variance,
        ),
        filters.psf,
    )


def apply_psi(
    difference: FloatPlane,
    good: BoolPlane,
    filters: DecorrelationFilters,
    *,
    window: Window | None = None,
    threads: int = 1,
    out: FloatPlane | None = None,
) -> FloatPlane:
    """``psi x (D good)``, psi bilinear between the nodes; zeros outside the image."""
    ny, nx = difference.shape
    filter_ = filters.psi.at_nodes(window or whole((ny, nx)))
    half, pad = filter_.half_width, padding(filter_.half_width)
    result = np.empty((ny, nx), np.float32) if out is None else out

    def strip(first: int, end: int) -> None:
        source = padded_source(first, end, (ny, nx), half)
        _copy_good(difference, good, first - half, end + half, pad, source)
        apply_strip(filter_, source, first, result[first:end])

    run_strips(strip, ny, threads=threads)
    return result


def propagate_variance(
    science_variance: FloatPlane,
    template_variance: FloatPlane,
    good: BoolPlane,
    filters: DecorrelationFilters,
    *,
    window: Window | None = None,
    threads: int = 1,
    out: FloatPlane | None = None,
) -> FloatPlane:
    """``psi^2 x VS + (psi x K x l)^2 x VT`` (or its form for a convolved science image).

    Pixels that are not good, not finite or not positive, and everything outside the image,
    count as the median variance around them.
    """
    ny, nx = shape = (good.shape[0], good.shape[1])
    window = window or whole(shape)
    terms = [
        (plane, tables.at_nodes(window), medians)
        for plane, tables, medians in (
            (science_variance, filters.science_square, filters.science_variance),
            (template_variance, filters.template_square, filters.template_variance),
        )
    ]
    result = np.empty(shape, np.float32) if out is None else out

    def strip(first: int, end: int) -> None:
        parts = []
        for plane, filter_, medians in terms:
            fill = _between_nodes(medians, 0.5 * (first + end - 1), window)
            half, pad = filter_.half_width, padding(filter_.half_width)
            source = padded_source(first, end, (ny, nx), half)
            _copy_variance(plane, good, fill, first - half, end + half, pad, source)
            part = np.empty((end - first, nx), np.float32)
            apply_strip(filter_, source, first, part)
            parts.append(part)
        np.add(parts[0], parts[1], out=result[first:end])

    run_strips(strip, ny, threads=threads)
    return result


def _between_nodes(
    values: npt.NDArray[np.float32], row: float, window: Window
) -> npt.NDArray[np.float32]:
    """Bilinear between the nodes at all columns of one (perhaps fractional) row of a window."""
    nodes_y, nodes_x = node_positions(window.image)
    grid = values.astype(np.float64).reshape(nodes_y.size, nodes_x.size)
    y, x = window.y0 + row, np.arange(window.image[1])[window.slices[1]]
    i = min(int(np.searchsorted(nodes_y, y, "right")) - 1, nodes_y.size - 2)
    j = np.minimum(np.searchsorted(nodes_x, x, "right") - 1, nodes_x.size - 2)
    fy = (y - nodes_y[i]) / (nodes_y[i + 1] - nodes_y[i])
    fx = (x - nodes_x[j]) / (nodes_x[j + 1] - nodes_x[j])
    along = grid[i] + fy * (grid[i + 1] - grid[i])
    return np.asarray(along[j] + fx * (along[j + 1] - along[j]), np.float32)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _copy_good(
    image: FloatPlane, good: BoolPlane, first: int, end: int, pad: int, source: FloatPlane
) -> None:
    """Copy rows ``first <= y < end`` into a padded strip, 0 where not good."""
    ny, nx = image.shape
    zero = np.float32(0.0)
    for y in range(max(first, 0), min(end, ny)):
        target = source[y - first, pad : pad + nx]
        row, usable = image[y], good[y]
        for x in range(nx):
            target[x] = row[x] if usable[x] else zero


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _copy_variance(
    variance: FloatPlane,
    good: BoolPlane,
    fill: FloatPlane,
    first: int,
    end: int,
    pad: int,
    source: FloatPlane,
) -> None:
    """Copy rows into a padded strip, ``fill`` (nx,) for all that is not a usable variance."""
    ny, nx = variance.shape
    zero, infinity = np.float32(0.0), np.float32(np.inf)
    for r in range(source.shape[0]):
        y = first + r
        padded = source[r]
        padded[:pad] = fill[0]
        padded[pad + nx :] = fill[nx - 1]
        target = padded[pad : pad + nx]
        if y < 0 or y >= min(end, ny):
            target[:] = fill
            continue
        row, usable = variance[y], good[y]
        for x in range(nx):
            v = row[x]
            target[x] = v if usable[x] & (v > zero) & (v < infinity) else fill[x]
