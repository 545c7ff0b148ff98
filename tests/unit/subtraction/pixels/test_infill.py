import numpy as np
import pytest

from residua.subtraction.masks import MaskBit
from residua.subtraction.pixels.infill import fill_flagged

SATURATED = int(MaskBit.SATURATED)


def test_trail_is_filled_across_its_short_side():
    y, x = np.mgrid[0:80, 0:90]
    sky = (0.5 * x + 0.2 * y).astype(np.float32)
    image, mask = sky.copy(), np.zeros(sky.shape, np.int32)
    image[5:75, 40:46], mask[5:75, 40:46] = 6e4, SATURATED
    fill_flagged(image, mask, SATURATED)
    # Each end is the mean of two pixels, half a pixel farther out.
    np.testing.assert_allclose(image, sky, atol=0.6)


def test_core_of_a_star_stays():
    y, x = np.mgrid[0:60, 0:60]
    image = np.minimum(1e6 * np.exp(-((x - 30) ** 2 + (y - 30) ** 2) / 20.0), 5e4)
    image = image.astype(np.float32)
    mask = np.where(image >= 4e4, SATURATED, 0).astype(np.int32)
    filled = image.copy()
    fill_flagged(filled, mask, SATURATED)
    np.testing.assert_array_equal(filled, image)


def test_filling_does_not_depend_on_threads_and_leaves_good_pixels():
    rng = np.random.default_rng(4)
    image = rng.normal(0.0, 1.0, (300, 200)).astype(np.float32)
    mask = np.where(rng.uniform(size=image.shape) < 0.1, SATURATED, 0).astype(np.int32)
    image[mask != 0] = 1e5
    one, many = image.copy(), image.copy()
    fill_flagged(one, mask, SATURATED, threads=1)
    fill_flagged(many, mask, SATURATED, threads=3)
    np.testing.assert_array_equal(one, many)
    np.testing.assert_array_equal(one[mask == 0], image[mask == 0])
    assert np.abs(one).max() < 10.0


@pytest.mark.parametrize("edge", [0, -1])
def test_gap_at_the_edge_takes_the_open_sides_value(edge):
    image = np.full((40, 40), 7.0, np.float32)
    mask = np.zeros((40, 40), np.int32)
    image[:, edge], mask[:, edge] = 9e4, SATURATED
    fill_flagged(image, mask, SATURATED)
    np.testing.assert_allclose(image, 7.0)
