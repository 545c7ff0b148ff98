"""A window sees the blocks of the whole image, where they lie."""

import numpy as np
import pytest

from residua.subtraction.engine.nodes import BLOCK, bilinear_weights, block_centres
from residua.subtraction.engine.window import Window, whole

IMAGE = (700, 1200)


@pytest.mark.parametrize(
    ("y0", "x0", "shape"), [(0, 0, IMAGE), (64, 128, (64, 64)), (640, 1152, (60, 48))]
)
def test_blocks_of_a_window_are_those_of_the_whole(y0, x0, shape):
    window = Window(y0, x0, shape, IMAGE)
    y, x = block_centres(IMAGE)
    rows = slice(y0 // BLOCK, -(-(y0 + shape[0]) // BLOCK))
    columns = slice(x0 // BLOCK, -(-(x0 + shape[1]) // BLOCK))
    found_y, found_x = window.block_centres()
    np.testing.assert_array_equal(found_y, y[rows])
    number = columns.stop - columns.start
    np.testing.assert_array_equal(found_x[:number], x[columns])
    for part, all_blocks in zip(
        bilinear_weights(IMAGE, window.block_centres()), bilinear_weights(IMAGE), strict=True
    ):
        np.testing.assert_array_equal(part[:, :number], all_blocks[rows, columns])


def test_the_whole_is_a_window():
    window = whole(IMAGE)
    assert window.slices == (slice(0, 700), slice(0, 1200))
    for part, everything in zip(window.block_centres(), block_centres(IMAGE), strict=True):
        np.testing.assert_array_equal(part, everything)
