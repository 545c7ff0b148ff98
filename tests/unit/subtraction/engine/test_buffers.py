"""The pool hands out the same memory again, under the same name only."""

import numpy as np

from residua.simulation.sky import scene, simulate_pair
from residua.subtraction.config import NO_LIMITS, SubtractionConfig
from residua.subtraction.engine.buffers import PlanePool
from residua.subtraction.subtract import subtract


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


def test_neither_pool_nor_threads_change_a_bit():
    pair = simulate_pair(scene("deep", shape=(600, 640), stars=12_000.0), 5)
    unlimited = SubtractionConfig(limits=NO_LIMITS)
    pool = PlanePool()

    def planes(**options):
        made = subtract(pair.science, pair.templates, unlimited, **options)
        return [p.copy() for p in (made.image, made.variance, made.mask, made.matched_template)]

    fresh = planes(threads=1)
    held = 0
    for threads in (2, 1, 3):
        for a, b in zip(fresh, planes(threads=threads, planes=pool), strict=True):
            np.testing.assert_array_equal(a, b)
        # No growth: the second and third call find every plane there.
        assert held in {0, pool.n_bytes}
        held = pool.n_bytes
