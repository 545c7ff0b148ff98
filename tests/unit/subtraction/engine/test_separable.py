"""Filters whose taps vary over the image, against direct sums in float64."""

import numpy as np
import pytest
from scipy import signal

from residua.subtraction.engine.filter_tables import node_filter, polynomial_filter
from residua.subtraction.engine.nodes import BLOCK, block_centres, node_positions
from residua.subtraction.engine.separable import apply_strip, padded_source, padding
from residua.subtraction.images import SpatialPolynomial


def filtered(filter_, image, strip):
    """Apply a filter strip by strip, with zeros outside."""
    half, (ny, nx) = filter_.half_width, image.shape
    out = np.full(image.shape, np.nan, np.float32)
    for first in range(0, ny, strip):
        end = min(first + strip, ny)
        source = padded_source(first, end, image.shape, half)
        low, high = max(first - half, 0), min(end + half, ny)
        inside = slice(low - first + half, high - first + half)
        source[inside, padding(half) : padding(half) + nx] = image[low:high]
        apply_strip(filter_, source, first, out[first:end])
    return out


def blockwise(image, stamp_at, *, correlate=False):
    """Filter each block with the stamp of its centre: what `apply_strip` promises."""
    out = np.empty(image.shape)
    combine = signal.correlate2d if correlate else signal.convolve2d
    for i, y in enumerate(block_centres(image.shape)[0]):
        for j, x in enumerate(block_centres(image.shape)[1]):
            box = np.s_[i * BLOCK : (i + 1) * BLOCK, j * BLOCK : (j + 1) * BLOCK]
            if out[box].size:
                out[box] = combine(image.astype(float), stamp_at(y, x), mode="same")[box]
    return out


def noise(shape, seed=1):
    return np.random.default_rng(seed).normal(0.0, 1.0, shape).astype(np.float32)


def gaussians(shape, size=11):
    """Round PSFs at the nodes, each of its own width and off its centre."""
    v, u = np.mgrid[:size, :size] - size // 2
    nodes = [(y, x) for y in node_positions(shape)[0] for x in node_positions(shape)[1]]
    widths = 1.2 + 0.05 * np.arange(len(nodes))
    stamps = [np.exp(-((u - 0.4) ** 2 + (v + 0.2) ** 2) / (2.0 * s**2)) for s in widths]
    return np.stack(stamps)


@pytest.mark.parametrize("shape", [(70, 90), (33, 513), (5, 7)])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_polynomial_filter_convolves_each_block_with_its_stamp(shape, order):
    rng = np.random.default_rng(order)
    polynomial = SpatialPolynomial(shape, order)
    n_terms = polynomial.terms(0.0, 0.0).shape[-1]
    vertical = rng.normal(size=(3, 7))
    horizontal = rng.normal(size=(n_terms, 3, 7))
    image = noise(shape)

    def stamp(y, x):
        taps = np.tensordot(polynomial.terms(x, y), horizontal, axes=1)
        return np.einsum("iy,ix->yx", vertical, taps)

    filter_ = polynomial_filter(shape, vertical, horizontal, polynomial)
    expected = blockwise(image, stamp)
    assert np.allclose(filtered(filter_, image, 32), expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("correlate", [False, True])
def test_a_node_filter_interpolates_the_stamps_between_nodes(correlate):
    shape = (70, 90)
    stamps = gaussians(shape)
    nodes_y, nodes_x = node_positions(shape)
    grid = stamps.reshape(nodes_y.size, nodes_x.size, *stamps.shape[1:])

    def stamp(y, x):
        i, j = (min(int(p / n[1]), n.size - 2) for p, n in ((y, nodes_y), (x, nodes_x)))
        fy, fx = y / nodes_y[1] - i, x / nodes_x[1] - j
        top = (1 - fx) * grid[i, j] + fx * grid[i, j + 1]
        bottom = (1 - fx) * grid[i + 1, j] + fx * grid[i + 1, j + 1]
        return (1 - fy) * top + fy * bottom

    filter_ = node_filter(shape, stamps, tolerance=1e-6, correlate=correlate)
    image = noise(shape)
    expected = blockwise(image, stamp, correlate=correlate)
    assert np.allclose(filtered(filter_, image, 64), expected, atol=1e-4 * np.abs(expected).max())


def test_the_cut_of_a_strip_changes_no_bit():
    shape = (150, 90)
    filter_ = node_filter(shape, gaussians(shape), tolerance=1e-3)
    image = noise(shape)
    whole = filtered(filter_, image, 160)
    for strip in (32, 64, 96):
        assert filtered(filter_, image, strip).tobytes() == whole.tobytes()


@pytest.mark.parametrize("tolerance", [0.3, 0.1, 1e-2, 1e-4])
def test_the_expansion_keeps_its_error_and_the_sums(tolerance):
    shape = (70, 90)
    stamps = gaussians(shape)
    filter_ = node_filter(shape, stamps, tolerance=tolerance)
    # As stored it is what correlates: turned by half a turn.
    made = np.einsum("iy,nix->nyx", filter_.vertical, filter_.horizontal)[:, ::-1, ::-1]
    assert np.allclose(made.sum(axis=(1, 2)), stamps.sum(axis=(1, 2)), rtol=1e-5)
    # Keeping the sums scales by no more than what was lost.
    error = np.sqrt(np.sum((made - stamps) ** 2) / np.sum(stamps**2))
    assert error <= 2.0 * tolerance
    exact = node_filter(shape, gaussians(shape), tolerance=1e-6)
    assert filter_.vertical.shape[0] <= exact.vertical.shape[0]


def test_sums_that_nearly_cancel_are_kept_exactly():
    shape = (70, 90)
    stamps = gaussians(shape)
    stamps -= stamps.mean(axis=(1, 2), keepdims=True) * (1.0 - 1e-5)
    filter_ = node_filter(shape, stamps, tolerance=1e-2, exact_sums=True)
    made = np.einsum("iy,nix->n", filter_.vertical.astype(float), filter_.horizontal.astype(float))
    assert np.allclose(made, stamps.sum(axis=(1, 2)), atol=1e-5)


def test_what_lies_outside_the_image_counts_as_zero():
    source = padded_source(0, 32, (40, 50), 5)
    assert source[:5].max() == source[:5].min() == 0.0
    columns = padding(5)
    assert np.all(source[:, :columns] == 0.0)
    assert np.all(source[:, columns + 50 :] == 0.0)
    last = padded_source(32, 40, (40, 50), 5)
    assert np.all(last[40 - 32 + 5 :] == 0.0)
