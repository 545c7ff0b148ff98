"""The pool hands out the same memory again, under the same name only."""

import numpy as np

from residua.subtraction.planes import PlanePool


def test_same_name_same_memory():
    pool = PlanePool()
    first = pool.float_plane("a", (30, 40))
    assert first.shape == (30, 40)
    assert first.dtype == np.float32
    assert np.shares_memory(first, pool.mask_plane("a", (30, 40)))
    assert np.shares_memory(first, pool.float_plane("a", (20, 10)))
    assert not np.shares_memory(first, pool.float_plane("b", (30, 40)))
    assert pool.n_bytes == 2 * 30 * 40 * 4


def test_a_larger_image_gets_a_larger_plane():
    pool = PlanePool()
    pool.float_plane("a", (30, 40))
    larger = pool.float_plane("a", (50, 60))
    assert larger.shape == (50, 60)
    assert larger.flags.c_contiguous
    assert pool.n_bytes == 50 * 60 * 4
