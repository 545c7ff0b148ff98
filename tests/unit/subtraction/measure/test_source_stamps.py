import numpy as np
import pytest
from tests.unit.subtraction.measure.stamps_of_gaussians import HALF, gaussian, psf_at_centre

from residua.subtraction.measure.source_stamps import cut_planes


def test_cut_outs_beyond_the_plane_are_zero():
    plane = np.arange(1.0, 31.0, dtype=np.float32).reshape(5, 6)
    inside, corner, outside = cut_planes(plane, np.array([2, 0, 90]), np.array([2, 4, 90]), 1)
    np.testing.assert_array_equal(inside, plane[1:4, 1:4])
    np.testing.assert_array_equal(corner, [[0, 19, 20], [0, 25, 26], [0, 0, 0]])
    assert not outside.any()


@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (0.37, -0.21), (-3.5, 2.25)])
def test_the_psf_is_a_unit_star_wherever_it_is_asked_for(dx, dy):
    [at] = psf_at_centre(1).at(np.array([dx]), np.array([dy]))
    np.testing.assert_allclose(at, gaussian(dx, dy), atol=1e-4)
    assert at.sum() == pytest.approx(1.0, abs=1e-5)
    assert at.shape == (2 * HALF + 1, 2 * HALF + 1)


def test_gradients_are_the_differences_of_shifted_stars():
    psf, step = psf_at_centre(1), 1e-4
    dx, dy = np.array([0.3]), np.array([-0.4])
    here, along_x, along_y = psf.gradients(dx, dy)
    np.testing.assert_allclose(here, psf.at(dx, dy))
    by_x = (psf.at(dx + step, dy) - psf.at(dx - step, dy)) / (2 * step)
    by_y = (psf.at(dx, dy + step) - psf.at(dx, dy - step)) / (2 * step)
    np.testing.assert_allclose(along_x, by_x, atol=1e-7)
    np.testing.assert_allclose(along_y, by_y, atol=1e-7)


def test_some_of_the_places():
    psf = psf_at_centre(3)
    assert psf.select(np.array([True, False, True])).at(np.zeros(2), np.zeros(2)).shape[0] == 2
