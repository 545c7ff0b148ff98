"""Which template pixels a tile needs, against every single pixel's position."""

import numpy as np
import pytest

from residua.subtraction.align.lanczos import lanczos3_weights
from residua.subtraction.align.pixel_map import PixelMap
from residua.subtraction.align.warp_kernel import TILE
from residua.subtraction.align.warp_plan import (
    central_jacobian,
    plan_patch,
    scratch_extent,
    warped_noise_covariance,
)

SHAPE = (150, 210)
TEMPLATE = (120, 160)
STEP = 16
MAPS = {
    "shift": ([[1.0, 0.0], [0.0, 1.0]], (-20.3, 11.6)),
    "turn": ([[0.8, -0.6], [0.6, 0.8]], (30.2, -40.7)),
    "finer": ([[0.7, 0.0], [0.0, 0.7]], (3.4, 5.5)),
    "mirror": ([[-1.1, 0.1], [0.0, 1.0]], (150.0, 10.0)),
    "far away": ([[1.0, 0.0], [0.0, 1.0]], (5000.0, 0.0)),
}


def affine(matrix, offset, shape=SHAPE):
    y, x = np.mgrid[0 : -(-shape[0] // STEP) + 1, 0 : -(-shape[1] // STEP) + 1] * float(STEP)
    m = np.asarray(matrix)
    return PixelMap(
        m[0, 0] * x + m[0, 1] * y + offset[0], m[1, 0] * x + m[1, 1] * y + offset[1], STEP, 0.0
    )


def planned(matrix, offset, shape=SHAPE):
    return plan_patch(TEMPLATE, affine(matrix, offset, shape), shape)


def tiles(patch):
    for j, i in np.ndindex(patch.overlaps.shape):
        y, x = np.mgrid[j * TILE : (j + 1) * TILE, i * TILE : (i + 1) * TILE]
        inside = (y < SHAPE[0]) & (x < SHAPE[1])
        yield (j, i), y[inside].astype(float), x[inside].astype(float)


@pytest.mark.parametrize("name", MAPS)
def test_a_box_holds_the_footprints_of_all_pixels_of_its_tile(name):
    matrix, offset = MAPS[name]
    patch = planned(matrix, offset)
    for tile, y, x in tiles(patch):
        px, py = (np.asarray(matrix) @ [x, y]) + np.asarray(offset)[:, None]
        x0, x1, y0, y1 = patch.boxes[tile]
        # Lanczos 3 reads two pixels before and three behind.
        assert x0 <= np.floor(px.min()) - 2
        assert x1 > np.floor(px.max()) + 3
        assert y0 <= np.floor(py.min()) - 2
        assert y1 > np.floor(py.max()) + 3
        hit = (px >= 0) & (px <= TEMPLATE[1] - 1) & (py >= 0) & (py <= TEMPLATE[0] - 1)
        assert patch.overlaps[tile] or not hit.any(), tile


@pytest.mark.parametrize("name", MAPS)
def test_distances_from_the_border_bound_those_of_all_pixels(name):
    matrix, offset = MAPS[name]
    patch = planned(matrix, offset)
    for tile, y, x in tiles(patch):
        px, py = (np.asarray(matrix) @ [x, y]) + np.asarray(offset)[:, None]
        border = np.min([px, TEMPLATE[1] - 1 - px, py, TEMPLATE[0] - 1 - py], axis=0)
        assert patch.nearest[tile] <= border.min() + 1e-9
        assert patch.farthest[tile] >= border.max() - 1e-9


def test_tiles_beyond_the_projection_are_left_out():
    pixel_map = affine(np.eye(2), (0.0, 0.0))
    pixel_map.x[:, 0] = np.nan
    patch = plan_patch((500, 500), pixel_map, SHAPE)
    assert not patch.overlaps[:, 0].any()
    assert patch.overlaps[:, 1:].all()


@pytest.mark.parametrize("name", [n for n in MAPS if n != "far away"])
def test_scratch_and_areas_and_the_jacobian(name):
    matrix, offset = MAPS[name]
    patch = planned(matrix, offset)
    boxes = patch.boxes[patch.overlaps]
    assert scratch_extent(patch, 0) > (boxes[:, 3] - boxes[:, 2]).max()
    columns = scratch_extent(patch, 1)
    assert columns >= (boxes[:, 1] - boxes[:, 0]).max() + 8
    assert columns % 16 == 0
    assert np.allclose(patch.areas, abs(np.linalg.det(matrix)))
    assert np.allclose(central_jacobian([patch], SHAPE), matrix)


def test_without_overlap_the_jacobian_is_the_identity():
    patch = planned(*MAPS["far away"])
    assert np.array_equal(central_jacobian([patch], SHAPE), np.eye(2))


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.5, 0.5), (0.25, 0.4)])
def test_noise_of_a_shifted_template(shift):
    shape = (96, 96)
    patch = planned(np.eye(2), (10.0 + shift[0], 10.0 + shift[1]), shape)
    best = np.zeros(patch.overlaps.shape, np.intp)
    covariance = warped_noise_covariance([patch], best, np.eye(2), shape)
    # White noise through one and the same set of weights: their autocorrelation.
    across, down = (lanczos3_weights(np.array(s)) for s in shift)
    expected = np.outer(np.correlate(down, down, "full"), np.correlate(across, across, "full"))
    half, reach = covariance.shape[-1] // 2, 5
    middle = covariance[:, half - reach : half + reach + 1, half - reach : half + reach + 1]
    assert np.allclose(middle, expected, atol=2e-3)
    outside = covariance.copy()
    outside[:, half - reach : half + reach + 1, half - reach : half + reach + 1] = 0.0
    assert np.abs(outside).max() < 1e-6
