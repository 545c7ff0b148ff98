"""HEALPix numbers: known cells, cells of one area, and a centre that lies in its cell."""

import numpy as np
import pytest

from residua.sphere.healpix import cell_center, cell_of


@pytest.mark.parametrize("order", [0, 1, 3, 8, 15, 29])
def test_the_centre_of_a_cell_lies_in_it(order):
    rng = np.random.default_rng(order)
    number = 12 * 4**order
    for index in {0, number - 1, *(int(v) for v in rng.integers(0, number, 300))}:
        assert cell_of(order, *cell_center(order, index)) == index


def test_the_base_cells_are_where_the_paper_has_them():
    # Gorski et al. 2005, figure 4: four about each pole, four on the equator.
    centres = [cell_center(0, n) for n in range(12)]
    ra, dec = np.array(centres).T
    np.testing.assert_allclose(ra, [45, 135, 225, 315, 0, 90, 180, 270, 45, 135, 225, 315])
    polar = np.degrees(np.arcsin(2.0 / 3.0))
    np.testing.assert_allclose(dec, [polar] * 4 + [0] * 4 + [-polar] * 4, atol=1e-12)


def test_children_lie_in_their_parent():
    rng = np.random.default_rng(5)
    for ra, z in zip(rng.uniform(0, 360, 500), rng.uniform(-1, 1, 500), strict=True):
        dec = float(np.degrees(np.arcsin(z)))
        assert cell_of(10, ra, dec) == cell_of(11, ra, dec) // 4


def test_cells_have_one_area():
    rng = np.random.default_rng(6)
    ra, dec = rng.uniform(0, 360, 48_000), np.degrees(np.arcsin(rng.uniform(-1, 1, 48_000)))
    counts = np.bincount([cell_of(1, r, d) for r, d in zip(ra, dec, strict=True)], minlength=48)
    # 1000 each, Poisson.
    assert abs(counts - 1000).max() < 5 * np.sqrt(1000)


@pytest.mark.parametrize(("order", "index"), [(-1, 0), (30, 0), (0, 12), (2, -1)])
def test_there_is_no_such_cell(order, index):
    assert cell_center(order, index) is None
    if order not in {0, 2}:
        assert cell_of(order, 10.0, 10.0) is None
    assert cell_of(0, 0.0, 90.1) is None
